"""Runs a feed's job on this machine, and keeps it running.

Flink itself restarts the job after a failure in it; when the whole JVM dies, or this program was killed and is started
again, the job goes on from its newest checkpoint. This program runs in the main environment, the job's client and the
JVM beside it in PyFlink's own (`--flink-python`).
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from flink.checkpoints import job_id, newest
from flink.home import Missing, Setup, assemble, distribution
from loopcast.aws import account, client, region
from loopcast.clock import clock_from_environment
from loopcast.feed import Feed, FeedError, load_feed
from loopcast.names import Names

ROOT = Path(__file__).resolve().parents[1]
STOP_SECONDS = 8.0
STEADY_SECONDS = 60.0
"""A JVM that lived so long had started well: its end is not counted against the next start."""
MOST_STARTS = 5
_PR_SET_PDEATHSIG = 1

log = logging.getLogger("flink.run")


def main() -> None:
    """Runs a feed's Flink job, and starts it again from its newest checkpoint whenever it ends."""
    arguments = _arguments()
    _log_json()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        feed = load_feed(arguments.feed)
        _require_free_port(arguments.rest_port, "--rest-port")
        _require_free_port(arguments.metrics_port, "--metrics-port")
        arguments.max_shards = arguments.max_shards or feed.stream.max_shards
        _require_shards(_stream(arguments, feed, "events"), arguments.max_shards)
        sys.exit(keep_running(lambda: _start(arguments, feed), stop))
    except (FeedError, Missing, Refused) as error:
        raise SystemExit(f"flink.run: {error}") from None


class Refused(RuntimeError):
    """The job can't be started as asked; the message says why and what to do."""


def keep_running(start: Callable[[], subprocess.Popen[bytes]], stop: threading.Event) -> int:
    """Starts the JVM again whenever it ends, until `stop` is set or it can't be kept up; the exit code."""
    short_lives = 0
    while not stop.is_set():
        started = time.monotonic()
        process = start()
        while process.poll() is None and not stop.wait(0.2):
            pass
        _end(process)
        if stop.is_set():
            log.info("stopped")
            break
        short_lives = short_lives + 1 if time.monotonic() - started < STEADY_SECONDS else 1
        log.error("the JVM ended", extra={"exit_code": process.returncode, "short_lives": short_lives})
        if short_lives >= MOST_STARTS:
            log.critical("giving up: the job ends soon after every start; its log in the work folder says why")
            return 1
        stop.wait(min(30.0, 2.0 ** (short_lives - 1)))
    return 0


def _start(arguments: argparse.Namespace, feed: Feed) -> subprocess.Popen[bytes]:
    setup = Setup(
        python=arguments.flink_python,
        checkpoints=arguments.checkpoints,
        checkpoint_seconds=arguments.checkpoint_interval,
        job_id=job_id(feed.name),
        max_shards=arguments.max_shards,
        rest_port=arguments.rest_port,
        metrics_port=arguments.metrics_port,
        s3_endpoint=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
    )
    folder = arguments.work_dir.resolve()
    environment = assemble(folder, setup)
    checkpoint = newest(setup.checkpoints, setup.job_id)
    log.info("starting the job", extra={"feed": feed.name, "checkpoint": checkpoint, "job_id": setup.job_id})
    command = _command(arguments, feed, checkpoint)
    with (folder / "log" / "flink.out").open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _command(arguments: argparse.Namespace, feed: Feed, checkpoint: str | None) -> Sequence[str]:
    restore = ["--fromSavepoint", checkpoint, "--claimMode", "claim"] if checkpoint else []
    return [
        *(str(distribution(arguments.flink_python) / "bin" / "flink"), "run", "--target", "local", *restore),
        *("-py", str(ROOT / "flink" / "job.py")),
        *("--feed", str(arguments.feed.resolve()), "--speed", f"{clock_from_environment().speed:g}"),
        *("--region", region(), "--max-shards", str(arguments.max_shards)),
        *("--events-stream", _stream(arguments, feed, "events")),
        *("--minutes-stream", _stream(arguments, feed, "minutes")),
        *("--late-stream", _stream(arguments, feed, "late")),
    ]


def _stream(arguments: argparse.Namespace, feed: Feed, which: str) -> str:
    """The stream named by a flag, or the feed's own."""
    given: str | None = getattr(arguments, f"{which}_stream")
    return given or str(getattr(Names(feed.name, account()), f"{which}_stream"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the JVM, then SIGKILL to whatever is left of its process group."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _die_with_parent() -> None:
    """The JVM must not outlive a supervisor that is killed: a second one would be started beside it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _require_free_port(port: int, flag: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            raise Refused(f"port {port} is in use: stop what listens there, or choose another {flag}") from None


def _require_shards(stream: str, most: int) -> None:
    """With fewer subtasks than shards a backfill would lose events: watermarks are kept by subtask."""
    pages = client("kinesis").get_paginator("list_shards").paginate(StreamName=stream)
    shards = sum(len(page["Shards"]) for page in pages)
    if shards > most:
        raise Refused(
            f"{stream} has {shards} shards, closed ones included: "
            f"start with --max-shards {shards} or more, or set the feed's stream.max_shards"
        )


def _log_json() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)


def _arguments() -> argparse.Namespace:
    environment: Mapping[str, str] = os.environ
    feed = environment.get("LOOPCAST_FEED", "feeds/bitcoin-fees.yaml")
    parser = argparse.ArgumentParser(prog="python -m flink.run", description=main.__doc__)
    parser.add_argument("--feed", type=Path, default=Path(feed), help="the feed's file (%(default)s)")
    parser.add_argument("--checkpoints", required=True, metavar="S3", help="for example s3://bucket/checkpoints/")
    parser.add_argument("--checkpoint-interval", type=float, default=10.0, metavar="SECONDS", help="%(default)s")
    parser.add_argument("--work-dir", type=Path, required=True, help="logs, configuration and temporary files")
    parser.add_argument("--rest-port", type=int, default=8081, help="Flink's REST API and page (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=9105, help="Prometheus metrics (%(default)s)")
    parser.add_argument(
        "--max-shards",
        type=int,
        help="the most shards that the stream of events may have, closed and unread ones included (the feed's)",
    )
    for which in ("events", "minutes", "late"):
        parser.add_argument(f"--{which}-stream", help=f"the stream of {which}, if not the feed's own")
    parser.add_argument(
        "--flink-python",
        type=Path,
        default=ROOT / ".venv" / "flink" / "bin" / "python",
        help="the interpreter of the environment with PyFlink (%(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
