"""How good a stage's forecasts were, and how its data compares with what its model was trained on; pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.baselines import baselines
from components.columns import Columns
from components.evaluate.scores import Score, score
from components.history import Array, History
from components.monitor.drift import drifts
from components.monitor.records import Window
from loopcast.feed import Feed
from loopcast.minute import WINDOW

BUCKET = 10
"""Minutes ahead that a horizon bucket spans."""


def quality(feed: Feed, windows: Sequence[Window], history: History) -> dict[str, Any]:
    """The score over all windows together, that by horizon bucket, and the best baseline's on the same windows.

    `history` has what was known before each window. Losses are the mean weighted quantile loss at the feed's
    quantiles; NaN where every minute is zero.
    """
    origins = [(window.start - history.start) // WINDOW for window in windows]
    rivals = baselines(history, origins, feed.forecast.steps, feed.forecast.quantiles)
    losses = {name: score([window.actual for window in windows], made).loss for name, made in rivals.items()}
    best = min(losses, key=lambda name: math.inf if math.isnan(losses[name]) else losses[name])
    return {
        **_figures(_score(windows, 0, feed.forecast.steps)),
        "baseline": best,
        "baseline_loss": losses[best],
        "horizon": {
            label: _figures(_score(windows, first, end)) for label, (first, end) in buckets(feed.forecast.steps).items()
        },
    }


def buckets(horizon: int) -> dict[str, tuple[int, int]]:
    """The steps [first, end) of each bucket by its label, as in `{"1-10": (0, 10), "11-15": (10, 15)}`."""
    ends = [(first, min(first + BUCKET, horizon)) for first in range(0, horizon, BUCKET)]
    return {f"{first + 1}-{end}": (first, end) for first, end in ends}


def _score(windows: Sequence[Window], first: int, end: int) -> Score:
    actual = [window.actual[first:end] for window in windows]
    return score(actual, [{q: values[first:end] for q, values in window.forecast.items()} for window in windows])


def _figures(found: Score) -> dict[str, float]:
    return {"loss": found.loss, "coverage": found.coverage, "bias": found.bias, "rmse": found.rmse}


def missing_share(since: Columns) -> float:
    """The share of minutes that never came."""
    return 1 - float(since.came.mean())


def data_quality(count_metric: str, baseline: Mapping[str, Any], since: Columns, day: Columns) -> dict[str, Any]:
    """The volume of the minutes `since` the last run, and the drift of the newest `day`, against the training baseline.

    `volume` is 1 where a minute has as many events as in training; a minute that never came does not count. A run's
    few minutes lie close together in any series, so that drift is told from a whole day.
    """
    indices = drifts(baseline, day.values)
    farthest = max(indices, key=lambda name: indices[name], default=None)
    return {
        "volume": _volume(since.values[count_metric], baseline["metrics"].get(count_metric)),
        "drift": indices[farthest] if farthest else None,
        "drift_of": farthest,
    }


def _volume(counts: Array, known: Mapping[str, Any] | None) -> float | None:
    if known is None or not known["mean"] or np.isnan(counts).all():
        return None
    return float(np.nanmean(counts)) / float(known["mean"])


def between(columns: Columns, first: int, end: int) -> Columns:
    """The minutes [first, end) of `columns`, as far as they lie within."""
    first = max(0, first)
    return Columns(columns.start + first * WINDOW, {name: column[first:end] for name, column in columns.values.items()})
