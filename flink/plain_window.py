"""The same windows as a plain Python function in PyFlink: what the SQL job is measured against in `make bench`.

Every event passes through a Python process here, where in the SQL job it never leaves the JVM.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pyflink.common import Duration, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import DataStream
from pyflink.datastream.functions import ProcessWindowFunction
from pyflink.datastream.window import TumblingEventTimeWindows

from loopcast.feed import Feed, Metric
from loopcast.minute import Minute

Values = Mapping[str, int | float]


def minutes(lines: DataStream, feed: Feed, lateness: float) -> DataStream:
    """The minutes, as lines of JSON, of `lines` of events in time order but for `lateness` seconds."""
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(round(lateness * 1000)))
    return (
        lines.map(_parse, Types.TUPLE([Types.STRING(), Types.LONG(), Types.PICKLED_BYTE_ARRAY()]))
        .assign_timestamps_and_watermarks(watermarks.with_timestamp_assigner(_EventTime()))
        .key_by(lambda _: feed.name, Types.STRING())
        .window(TumblingEventTimeWindows.of(Time.seconds(feed.window.size)))
        .process(MinuteFunction(feed), Types.STRING())
    )


class MinuteFunction(ProcessWindowFunction):  # type: ignore[misc]
    """One minute of a window's events, each id counted once."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def process(
        self, key: str, context: ProcessWindowFunction.Context, elements: Iterable[tuple[str, int, Values]]
    ) -> Iterable[str]:
        distinct = {identifier: values for identifier, _, values in elements}
        start = datetime.fromtimestamp(context.window().start / 1000, UTC)
        metrics = {name: aggregate(metric, list(distinct.values())) for name, metric in self._feed.metrics.items()}
        yield json.dumps(Minute(key, start, 0, metrics).to_json())


def aggregate(metric: Metric, events: list[Values]) -> int | float:
    """The metric over the values of at least one event."""
    if metric.aggregate == "count":
        return len(events)
    total = sum(values[metric.of or ""] for values in events)
    if metric.aggregate == "sum":
        return total
    return total / (len(events) if metric.aggregate == "mean" else sum(values[metric.per or ""] for values in events))


class _EventTime(TimestampAssigner):  # type: ignore[misc]
    def extract_timestamp(self, value: tuple[str, int, Values], record_timestamp: int) -> int:
        return value[1]


def _parse(line: str) -> tuple[str, int, Any]:
    event = json.loads(line)["loopcast"]
    return event["id"], event["time"], event["values"]
