"""One run of a pipeline: its feed, its names and its folder in S3."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from loopcast import aws
from loopcast.feed import Feed, parse_feed
from loopcast.names import Names

_RUN_ID = re.compile(r"[a-z0-9](-?[a-z0-9]){0,39}")


class Refused(RuntimeError):
    """A step that can't go on; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Run:
    """A run `id` (lower-case letters, digits and single hyphens, at most 40) for `feed`."""

    feed: Feed
    names: Names
    id: str

    def __post_init__(self) -> None:
        if not _RUN_ID.fullmatch(self.id) or len(self.id) > 40:
            raise Refused(
                f"{self.id!r} can't be a run's id: use at most 40 lower-case letters, digits and single hyphens."
            )

    def uri(self, *parts: str) -> str:
        """The address of a file of this run, `s3://bucket/runs/<run-id>/<parts>`."""
        return self.names.s3("/".join([f"{self.names.runs_prefix}{self.id}", *parts]))


def open_run(feed_text: str, run_id: str) -> Run:
    """The run `run_id` for the feed whose file's text is `feed_text`."""
    feed = parse_feed(feed_text)
    return Run(feed, Names(feed.name, aws.account()), run_id)


def write(uri: str, text: str, content_type: str = "application/json") -> str:
    """Puts `text` at `uri` (s3://bucket/key) and returns `uri`."""
    bucket, key = aws.split_s3(uri)
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType=content_type)
    return uri


def read(uri: str) -> str:
    """The text of the object at `uri`."""
    bucket, key = aws.split_s3(uri)
    body: bytes = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body.decode()


def write_json(uri: str, document: object) -> str:
    return write(uri, json.dumps(document))


def read_json(uri: str) -> Any:
    return json.loads(read(uri))
