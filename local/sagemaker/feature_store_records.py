"""Records of a feature group: checked against its definitions as the service does, and what they are in the stores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.sagemaker.errors import ServiceError

Json = dict[str, Any]

ADDED_COLUMNS = {"write_time": "timestamp", "api_invocation_time": "timestamp", "is_deleted": "boolean"}
"""The columns that the offline store adds to the features, with their types in Glue."""
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_LONGEST_TEXT = 350 * 1024


class ValidationError(ServiceError):
    """sagemaker-featurestore-runtime's name for a bad request."""

    code = "ValidationError"
    status = 400


@dataclass(frozen=True)
class FeatureGroup:
    """What the stores need of a feature group. `key` is its own even when its name is used again; `types` holds the
    features in their order; `offline_uri` is where its offline data lies (None without an offline store)."""

    key: str
    name: str
    record_id: str
    event_time: str
    types: Mapping[str, str]
    online: bool
    offline_uri: str | None


@dataclass(frozen=True)
class Row:
    """A record, or the mark of a deletion: `values` has the text of each feature that was given."""

    record_id: str
    event_time_ms: int
    values: Mapping[str, str]
    is_deleted: bool = False


def read_record(group: FeatureGroup, record: Sequence[Json]) -> Row:
    """The row of a PutRecord call's Record. Raises `ValidationError`."""
    values: dict[str, str] = {}
    for feature in record:
        name = feature["FeatureName"]
        if name in values:
            raise ValidationError(f"Validation Error: FeatureName [{name}] is given more than once")
        if feature.get("ValueAsString") is None:
            raise ValidationError(f"Validation Error: FeatureValue [{name}] has no ValueAsString")
        _check(group, name, feature["ValueAsString"])
        values[name] = feature["ValueAsString"]
    for required in (group.record_id, group.event_time):
        if not values.get(required):
            raise ValidationError(f"Validation Error: Record is missing the required feature [{required}]")
    return Row(values[group.record_id], read_event_time(group, values[group.event_time]), values)


def deletion(group: FeatureGroup, record_id: str, event_time: str) -> Row:
    """The row that marks a record as deleted. Raises `ValidationError`."""
    values = {group.record_id: record_id, group.event_time: event_time}
    for name, value in values.items():
        _check(group, name, value)
    return Row(record_id, read_event_time(group, event_time), values, is_deleted=True)


def read_event_time(group: FeatureGroup, text: str) -> int:
    """An event time in milliseconds since the epoch. Raises `ValidationError`."""
    try:
        if group.types[group.event_time] == "Fractional":
            return round(float(text) * 1000)
        if _ISO.fullmatch(text):
            return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        pass
    raise ValidationError(
        f"Validation Error: EventTime [{text}] is not in a supported format: "
        "yyyy-MM-dd'T'HH:mm:ssZ or yyyy-MM-dd'T'HH:mm:ss.SSSZ for String, seconds since the epoch for Fractional"
    )


def typed(kind: str, text: str | None) -> str | int | float | None:
    """A feature's text as the value that the offline store holds."""
    if text is None or kind == "String":
        return text
    return int(text) if kind == "Integral" else float(text)


def event_hour(event_time_ms: int) -> str:
    """The offline store's partition: `year=2026/month=11/day=21/hour=10`."""
    return datetime.fromtimestamp(event_time_ms / 1000, UTC).strftime("year=%Y/month=%m/day=%d/hour=%H")


def _check(group: FeatureGroup, name: str, text: str) -> None:
    """Raises `ValidationError` unless `name` is a feature, and `text` a value of its type."""
    if name not in group.types:
        raise ValidationError(f"Validation Error: FeatureName [{name}] is not defined in the FeatureGroup")
    kind = group.types[name]
    if not _fits(kind, text):
        raise ValidationError(f"Validation Error: FeatureValue [{text[:100]}] of [{name}] is not of type {kind}")


def _fits(kind: str, text: str) -> bool:
    if kind == "String":
        return len(text.encode()) <= _LONGEST_TEXT
    try:
        if kind == "Integral":
            return re.fullmatch(r"[+-]?\d+", text) is not None and -(2**63) <= int(text) < 2**63
        return math.isfinite(float(text))
    except ValueError:
        return False
