"""Finds the checkpoint to go on from.

A feed's job always has the same id, so that its checkpoints lie under one prefix, numbered on through every restart.
"""

from __future__ import annotations

import hashlib
import re

from loopcast.aws import client, split_s3

_COMPLETE = re.compile(r"/chk-(\d+)/_metadata$")


def job_id(feed: str) -> str:
    """The id of the feed's job: 32 hexadecimal digits."""
    return hashlib.sha256(f"loopcast/{feed}".encode()).hexdigest()[:32]


def newest(checkpoints: str, job: str) -> str | None:
    """The address of the job's newest complete checkpoint under `checkpoints` (s3://bucket/prefix/), or None.

    A checkpoint is complete once its `_metadata` is there: Flink writes it last.
    """
    bucket, prefix = split_s3(checkpoints)
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}{job}/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    numbers = [int(match[1]) for key in keys if (match := _COMPLETE.search(key))]
    return f"s3://{bucket}/{prefix}{job}/chk-{max(numbers)}" if numbers else None
