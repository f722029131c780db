"""A minute: the metrics of one series in one window, and its form in the Kinesis stream and the feature store.

In the stream, a JSON object: series_id, minute_start (ISO 8601 UTC, `2026-11-21T10:00:00Z`), revision (0 from the
window; above it from a repair, which wins), and the feed's metrics in the feed's units: counts and sums of integers
are 64-bit integers, means and ratios doubles. A ratio to nothing is undefined: it is null or absent, and no feature.

In the feature store, the record id is the series and the slot of the day, so that the online store holds the newest
24 hours of a series under known keys; the event time is the window's end plus a millisecond a revision, never the
wall clock, so that a repeated write overwrites itself and a repair wins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from loopcast.feed import Feed, Metric

WINDOW = timedelta(minutes=1)
RECORD_ID = "record_id"
EVENT_TIME = "event_time"
SLOTS = 1440
_LARGEST = 2**63 - 1


class BadMinute(ValueError):
    """A record of the minutes stream that can't be used; the message says why."""


@dataclass(frozen=True)
class Minute:
    """The metrics (by name, in the feed's units) of the minute of `series_id` that begins at `start` (UTC)."""

    series_id: str
    start: datetime
    revision: int
    metrics: Mapping[str, int | float]

    @property
    def record_id(self) -> str:
        return record_id(self.series_id, self.start)

    @property
    def event_time(self) -> datetime:
        return self.start + WINDOW + timedelta(milliseconds=self.revision)

    def to_json(self) -> dict[str, Any]:
        head = {
            "series_id": self.series_id,
            "minute_start": iso_minute(self.start),
            "revision": self.revision,
        }
        return head | dict(self.metrics)

    def to_record(self) -> list[dict[str, str]]:
        """The `Record` of a PutRecord call."""
        features = {RECORD_ID: self.record_id, EVENT_TIME: iso_milliseconds(self.event_time)} | self.to_json()
        return [{"FeatureName": name, "ValueAsString": _text(value)} for name, value in features.items()]


def record_id(series_id: str, start: datetime) -> str:
    """`bitcoin-fees#0600` for the minute that begins at 10:00: one key for each minute of the day."""
    return f"{series_id}#{start.hour * 60 + start.minute:04d}"


def iso_minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_milliseconds(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse_minute(feed: Feed, document: object) -> Minute:
    """The minute in a record of the stream. Raises `BadMinute`."""
    if not isinstance(document, Mapping):
        raise BadMinute(f"not an object: {document!r}")
    unknown = set(document) - {"series_id", "minute_start", "revision", *feed.metrics}
    if unknown:
        raise BadMinute(f"unknown fields: {', '.join(sorted(unknown))}")
    try:
        start = datetime.fromisoformat(document["minute_start"])
        revision, series_id = document["revision"], document["series_id"]
        metrics = {
            name: _number(name, metric, document[name])
            for name, metric in feed.metrics.items()
            if not _is_undefined(metric, document.get(name))
        }
    except KeyError as error:
        raise BadMinute(f"{error.args[0]} is missing") from error
    except (TypeError, ValueError) as error:
        raise BadMinute(str(error)) from error
    if start.tzinfo is None or start.second or start.microsecond:
        raise BadMinute(f"minute_start is not a whole minute with a time zone: {document['minute_start']!r}")
    if not isinstance(series_id, str) or not series_id or type(revision) is not int or revision < 0:
        raise BadMinute("series_id must be text and revision a whole number from 0")
    return Minute(series_id, start.astimezone(UTC), revision, metrics)


def feature_definitions(feed: Feed) -> list[dict[str, str]]:
    """The `FeatureDefinitions` of the feed's feature group."""
    types = {RECORD_ID: "String", EVENT_TIME: "String", "series_id": "String", "minute_start": "String"}
    types |= {"revision": "Integral"}
    types |= {name: "Integral" if is_integer(feed, metric) else "Fractional" for name, metric in feed.metrics.items()}
    return [{"FeatureName": name, "FeatureType": kind} for name, kind in types.items()]


def is_integer(feed: Feed, metric: Metric) -> bool:
    """Whether the metric is a 64-bit integer: counts are, and sums of integers."""
    if metric.aggregate == "count":
        return True
    return metric.aggregate == "sum" and feed.event.values[metric.of or ""].type == "integer"


def _is_undefined(metric: Metric, value: object) -> bool:
    return metric.aggregate == "ratio" and value is None


def _number(name: str, metric: Metric, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is not a number: {value!r}")
    if metric.aggregate == "count" and (type(value) is not int or value < 0):
        raise ValueError(f"{name} is not a count: {value!r}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{name} is over 64 bits: {value!r}")
    return value


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)
