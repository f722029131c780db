"""Values as their place in the recent past: what makes a forecaster scale-free.

A value's score is the standard normal quantile of the share of a context's values below it, so a model of scores knows
neither the level nor the spread of the series: both come from the context of each request, and follow it when it moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from forecasters.frequency import days
from forecasters.series import Array

CENTRE = 0.0
"""The score of the median."""


@dataclass(frozen=True)
class Ranks:
    """The distinct known values of a context, rising, and the score of each; both (k,)."""

    values: Array
    scores: Array

    def score(self, values: Array) -> Array:
        """The scores of `values`; beyond the context they are its outermost, and NaN stays NaN."""
        return np.interp(values, self.values, self.scores)

    def value(self, scores: Array) -> Array:
        """The values that have `scores`, between the context's smallest and largest."""
        return np.interp(scores, self.scores, self.values)


def ranks(context: Array) -> Ranks:
    """What is known of `context`, newest last: a value counts for half as much as one half a context later.

    Raises ValueError where nothing is known.
    """
    known = np.flatnonzero(~np.isnan(context))
    if known.size == 0:
        raise ValueError(f"each of the latest {len(context)} values of target is missing: there is nothing to go by")
    values, places = np.unique(context[known], return_inverse=True)
    weights = np.bincount(places, weights=0.5 ** (-2 * known / len(context)))
    below = np.cumsum(weights) - weights / 2
    return Ranks(values, normal_scores(below / weights.sum()))


def default_context(time_freq: str, prediction_length: int) -> int:
    """The steps of a day, at least four horizons."""
    return max(round(1 / days(time_freq)), 4 * prediction_length)


def normal_scores(levels: Sequence[float] | Array) -> Array:
    """The scores of quantile levels."""
    return np.asarray(ndtri(np.asarray(levels)), dtype=np.float64)


def origins(target: Array, horizon: int) -> list[int]:
    """Where a window to learn from can end: with known values both in the horizon before and in that after it."""
    known = np.concatenate([[0], np.cumsum(~np.isnan(target))])
    ends = np.arange(horizon, len(target) - horizon + 1)
    usable = (known[ends] > known[ends - horizon]) & (known[ends + horizon] > known[ends])
    found: list[int] = ends[usable].tolist()
    return found
