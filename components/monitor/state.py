"""What a stage's monitor has judged, in S3: the state that its runs agree on, and a record of each.

`monitoring/<stage>/state.json` says until when windows are judged. A run takes its windows by a conditional write, so
that of two at once one counts, and the other has nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from components.run import Run, write_json
from loopcast import aws

_ABSENT = {"NoSuchKey", "404"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", *_ABSENT}


@dataclass(frozen=True)
class State:
    """Windows are judged until `judged_until` (event time), the last of them by the forecasts of the model's `version`;
    the run `run_id` took these at the wall time `at`. Both times are ISO 8601."""

    judged_until: str
    version: str
    run_id: str
    at: str

    @property
    def until(self) -> datetime:
        return datetime.fromisoformat(self.judged_until)


def read_state(run: Run, stage: str) -> State | None:
    """The stage's state; None before its first run."""
    found = read_or_none(_address(run, stage, "state.json"))
    return State(**json.loads(found[0])) if found else None


def take(run: Run, stage: str, before: str | None, wanted: State) -> State | None:
    """Takes the windows from `before` (None in the stage's first run) until `wanted.judged_until` for this run.

    Returns `wanted`, or what this run wrote when it took them earlier; None when another run was faster.
    """
    address = _address(run, stage, "state.json")
    found = read_or_none(address)
    held = State(**json.loads(found[0])) if found else None
    if held is not None and held.run_id == run.id:
        return held
    if (held.judged_until if held else None) != before:
        return None
    return wanted if _put_if(address, json.dumps(asdict(wanted)), found[1] if found else None) else None


def _put_if(address: str, text: str, etag: str | None) -> bool:
    """Whether `text` was put over what bears `etag`, or where nothing is when that is None."""
    bucket, key = aws.split_s3(address)
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        aws.client("s3").put_object(
            Bucket=bucket, Key=key, Body=text.encode(), ContentType="application/json", **condition
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in _TAKEN:
            raise
        return False
    return True


def read_or_none(address: str) -> tuple[str, str] | None:
    """The text and the ETag of the object at `address`; None when there is none."""
    bucket, key = aws.split_s3(address)
    try:
        found = aws.client("s3").get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        return None
    return found["Body"].read().decode(), str(found["ETag"])


def write_history(run: Run, stage: str, end: datetime, record: Mapping[str, Any]) -> str:
    """Keeps the run's record at `monitoring/<stage>/history/<end of its last window>.json`; its address."""
    return write_json(_history(run, stage, end), record)


def has_history(run: Run, stage: str, end: datetime) -> bool:
    """Whether a record of the windows until `end` is kept."""
    return read_or_none(_history(run, stage, end)) is not None


def _history(run: Run, stage: str, end: datetime) -> str:
    return _address(run, stage, f"history/{end:%Y%m%dT%H%M%SZ}.json")


def _address(run: Run, stage: str, name: str) -> str:
    return str(run.names.s3(f"{run.names.monitoring_prefix}{stage}/{name}"))
