"""What a model's training data looked like, metric by metric: what fresh minutes are compared with; pure functions.

{"minutes": n, "missing": share, "metrics": {name: {"mean": ..., "edges": [9 inner decile edges], "shares": [10]}}}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.columns import Columns
from components.history import Array

_DECILES = np.arange(1, 10) / 10


def training_baseline(training: Columns) -> dict[str, Any]:
    """The file baseline.json of the minutes that a model is trained on.

    `minutes` is how many they span, `missing` the share of these that never came. A metric of which no minute is known
    is left out.
    """
    metrics = {name: _metric(column[~np.isnan(column)]) for name, column in training.values.items()}
    return {
        "minutes": len(training),
        "missing": 1 - float(training.came.mean()),
        "metrics": {name: metric for name, metric in metrics.items() if metric is not None},
    }


def shares(values: Array, edges: Array) -> Array:
    """The share of `values` in each of the bins between `edges`, which rise; shape (len(edges) + 1,).

    A value on an edge belongs to the bin above it. NaNs are left out; `values` must have a number.
    """
    bins = np.searchsorted(edges, values[~np.isnan(values)], side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _metric(known: Array) -> dict[str, Any] | None:
    if not len(known):
        return None
    edges = np.quantile(known, _DECILES)
    return {"mean": float(known.mean()), "edges": edges.tolist(), "shares": shares(known, edges).tolist()}
