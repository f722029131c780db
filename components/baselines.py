"""Forecasts that a model must beat: persistence and the empirical quantiles of the last hours; pure numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.history import Array, History

HOURS = (1, 6, 24)
_SHARE_KNOWN = 0.5

Forecast = dict[float, Array]
"""A number a minute of the horizon for each quantile."""


def persistence(history: History, horizon: int, quantiles: Sequence[float]) -> Forecast:
    """The last known value, at every quantile; `history` must have one."""
    known = history.target[~np.isnan(history.target)]
    return {quantile: np.full(horizon, known[-1]) for quantile in quantiles}


def reaches(history: History, hours: int) -> bool:
    """Whether the last `hours` lie within `history` and at least half of their minutes came."""
    steps = history.steps(hours)
    return len(history) >= steps and history.last(steps).known >= _SHARE_KNOWN * steps


def empirical(history: History, hours: int, horizon: int, quantiles: Sequence[float]) -> Forecast:
    """The quantiles of the last `hours`, the same for each minute of the horizon; `history` must reach."""
    past = history.last(history.steps(hours)).target
    return {quantile: np.full(horizon, np.nanquantile(past, quantile)) for quantile in quantiles}


def baselines(
    history: History, origins: Sequence[int], horizon: int, quantiles: Sequence[float]
) -> dict[str, list[Forecast]]:
    """A forecast for each origin by each baseline that reaches back far enough at every origin."""
    pasts = [history.until(origin) for origin in origins]
    found = {"persistence": [persistence(past, horizon, quantiles) for past in pasts]}
    for hours in HOURS:
        if all(reaches(past, hours) for past in pasts):
            found[empirical_name(hours)] = [empirical(past, hours, horizon, quantiles) for past in pasts]
    return found


def empirical_name(hours: int) -> str:
    return f"empirical_{hours}h"
