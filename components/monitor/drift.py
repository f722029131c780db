"""How far the distribution of a metric has gone from that in training; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.history import Array
from components.training_baseline import shares

_SMOOTHING = 0.001
"""What every bin's share is raised by before all are scaled to 1 again, about a minute of a day: an empty bin would
make the index infinite."""


def population_stability_index(expected: Array, actual: Array) -> float:
    """sum((actual - expected) * ln(actual / expected)) over the shares of the same bins, both smoothed alike.

    It is 0 where they are the same and never below; by custom, something has changed where it is above 0.25.
    """
    before, after = _smoothed(expected), _smoothed(actual)
    return float(((after - before) * np.log(after / before)).sum())


def _smoothed(found: Array) -> Array:
    raised = found + _SMOOTHING
    return np.asarray(raised / raised.sum(), dtype=np.float64)


def drifts(baseline: Mapping[str, Any], columns: Mapping[str, Array]) -> dict[str, float]:
    """The index by metric, for the metrics that are in the training baseline and came."""
    return {
        name: population_stability_index(np.array(known["shares"]), shares(columns[name], np.array(known["edges"])))
        for name, known in baseline["metrics"].items()
        if name in columns and not np.isnan(columns[name]).all()
    }
