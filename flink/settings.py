"""What the programs that run the job, here or on Kubernetes, have in common: flags, and what the job is given."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from loopcast.aws import account, client, region
from loopcast.clock import clock_from_environment
from loopcast.feed import Feed
from loopcast.names import Names

ROOT = Path(__file__).resolve().parents[1]
JOB = ROOT / "flink" / "job.py"


class Refused(RuntimeError):
    """The job can't be started as asked; the message says why and what to do."""


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say which job it is."""
    feed = os.environ.get("LOOPCAST_FEED", "feeds/bitcoin-fees.yaml")
    parser.add_argument("--feed", type=Path, default=Path(feed), help="the feed's file (%(default)s)")
    parser.add_argument("--checkpoint-interval", type=float, default=10.0, metavar="SECONDS", help="%(default)s")
    parser.add_argument(
        "--max-shards",
        type=int,
        help="the most shards that the stream of events may have, closed and unread ones included (the feed's)",
    )
    for which in ("events", "minutes", "late"):
        parser.add_argument(f"--{which}-stream", help=f"the stream of {which}, if not the feed's own")


def job_arguments(arguments: argparse.Namespace, feed: Feed) -> Sequence[str]:
    """What `flink/job.py` is given."""
    return [
        *("--feed", str(arguments.feed.absolute()), "--speed", f"{clock_from_environment().speed:g}"),
        *("--region", region(), "--max-shards", str(max_shards(arguments, feed))),
        *("--events-stream", stream(arguments, feed, "events")),
        *("--minutes-stream", stream(arguments, feed, "minutes")),
        *("--late-stream", stream(arguments, feed, "late")),
    ]


def max_shards(arguments: argparse.Namespace, feed: Feed) -> int:
    return int(arguments.max_shards or feed.stream.max_shards)


def stream(arguments: argparse.Namespace, feed: Feed, which: str) -> str:
    """The stream named by a flag, or the feed's own."""
    given: str | None = getattr(arguments, f"{which}_stream")
    return given or str(getattr(Names(feed.name, account()), f"{which}_stream"))


def require_shards(stream: str, most: int) -> None:
    """With fewer subtasks than shards a backfill would lose events: watermarks are kept by subtask.

    Raises `Refused`, and botocore's errors, for example when there is no such stream.
    """
    pages = client("kinesis").get_paginator("list_shards").paginate(StreamName=stream)
    shards = sum(len(page["Shards"]) for page in pages)
    if shards > most:
        raise Refused(
            f"{stream} has {shards} shards, closed ones included: "
            f"start with --max-shards {shards} or more, or set the feed's stream.max_shards"
        )


def s3_endpoint() -> str | None:
    """Where S3 is, if not at AWS."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def log_as_json(log: logging.Logger) -> None:
    """Logs of `log` from INFO on, and of all others from WARNING on, as JSON on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)
