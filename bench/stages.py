"""Events a second through each stage by itself, each fed by the backlog of the one before, and through all at once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.stacks import rate, stack, start
from flink.metrics import read as read_flink
from local import online
from local.control import ReplayedSource
from local.stack import Stack
from local.status import metrics
from loopcast.aws import client
from loopcast.minute import SLOTS, Minute

_SPEED = 1000.0
_POLL_SECONDS = 20.0
_LIMIT = 180.0
_MINUTES = SLOTS


def measure(folder: Path, first_port: int) -> list[dict[str, Any]]:
    """Rows (what, value, unit)."""
    with stack(folder, first_port, _SPEED) as found:
        source = ReplayedSource(found.settings.url("source"))
        start(found, "source")
        polled = _poller(found)
        source.hold()
        events = metrics(found.settings, "poller")["loopcast_poller_published_events_total"]
        delivered = _deduplicator(found, events)
        windowed = _flink(found, events)
        written = _feature_writer(found)
        source.release()
        through = _end_to_end(found, source)
    return [
        {"what": "poller: source to bus", "value": polled, "unit": "events/s"},
        {"what": "deduplicator: queue to stream", "value": delivered, "unit": "events/s"},
        {"what": "Flink: stream to minutes", "value": windowed, "unit": "events/s"},
        {"what": "feature writer: stream to feature store", "value": written, "unit": "minutes/s"},
        {"what": "end to end: source to feature store", "value": through, "unit": "events/s"},
    ]


def _poller(found: Stack) -> float:
    start(found, "poller")
    began, before = time.monotonic(), _published(found)
    time.sleep(_POLL_SECONDS)
    return (_published(found) - before) / (time.monotonic() - began)


def _published(found: Stack) -> float:
    return metrics(found.settings, "poller")["loopcast_poller_published_events_total"]


def _deduplicator(found: Stack, events: float) -> float:
    start(found, "deduplicator")
    return rate(
        lambda: metrics(found.settings, "deduplicator")["loopcast_deduplicator_delivered_events_total"], events, _LIMIT
    )


def _flink(found: Stack, events: float) -> float:
    start(found, "flink")
    return rate(lambda: read_flink(found.settings.port("flink-metrics")).records_in, events, _LIMIT)


def _feature_writer(found: Stack) -> float:
    """A day of minutes long past, so that Flink's own don't meet them."""
    start(found, "feature-writer")
    first = datetime(2020, 1, 1, tzinfo=UTC)
    feed = found.settings.feed
    kinesis = client("kinesis")
    before = _written(found)
    for begin in range(0, _MINUTES, 480):
        minutes = [
            Minute(feed.name, first + timedelta(minutes=begin + index), 0, dict.fromkeys(feed.metrics, 1))
            for index in range(480)
        ]
        records = [{"Data": json.dumps(minute.to_json()).encode(), "PartitionKey": feed.name} for minute in minutes]
        kinesis.put_records(StreamName=found.settings.names.minutes_stream, Records=records)
    return rate(lambda: _written(found), before + _MINUTES, _LIMIT)


def _written(found: Stack) -> float:
    return metrics(found.settings, "feature-writer").get("loopcast_feature_writer_written_minutes_total", 0.0)


def _end_to_end(found: Stack, source: ReplayedSource) -> float:
    """Transactions of the minutes that became readable within the time of measuring."""
    names, series = found.settings.names, found.settings.feed.name
    runtime = client("sagemaker-featurestore-runtime")

    def newest() -> datetime:
        minute = None
        deadline = time.monotonic() + _LIMIT
        while minute is None and time.monotonic() < deadline:
            minute = online.newest(runtime, names.feature_group, series, source.now())
        assert minute is not None
        return minute

    first, began = newest(), time.monotonic()
    time.sleep(_POLL_SECONDS)
    last, ended = newest(), time.monotonic()
    counted = online.minutes(runtime, names.feature_group, series, first + timedelta(minutes=1), last)
    return sum(int(minute["transaction_count"]) for minute in counted.values()) / (ended - began)
