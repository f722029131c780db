"""A minute's metrics from its events' values, by the same definitions as the windows': pure, and exact on integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from loopcast.feed import Feed, Metric

Values = Mapping[str, int | float]


def aggregate(feed: Feed, events: Sequence[Values]) -> dict[str, int | float]:
    """The feed's metrics over `events` (a mapping of values each, at least one); a ratio to nothing is left out."""
    metrics = {name: _metric(metric, events) for name, metric in feed.metrics.items()}
    return {name: value for name, value in metrics.items() if value is not None}


def _metric(metric: Metric, events: Sequence[Values]) -> int | float | None:
    match metric.aggregate:
        case "count":
            return len(events)
        case "sum":
            return _total(metric.of, events)
        case "mean":
            return float(_total(metric.of, events)) / len(events)
        case "ratio":
            per = float(_total(metric.per, events))
            return float(_total(metric.of, events)) / per if per else None


def _total(name: str | None, events: Sequence[Values]) -> int | float:
    values = [event[name or ""] for event in events]
    if all(isinstance(value, int) for value in values):
        return sum(values)
    return math.fsum(values)
