"""The metrics of a regression, as the built-in monitor computes them; pure functions over arrays of shape (n,)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_SAMPLES = 200
"""With fewer samples there is no standard deviation, as on AWS."""
_DRAWS = 5
_SHARE = 0.8


def errors(labels: Array, predictions: Array) -> dict[str, float]:
    """mae, mse, rmse and r2 of at least one pair; r2 is NaN where the labels don't vary."""
    difference = predictions - labels
    spread = float(((labels - labels.mean()) ** 2).sum())
    mse = float(np.mean(difference**2))
    return {
        "mae": float(np.mean(np.abs(difference))),
        "mse": mse,
        "rmse": mse**0.5,
        "r2": 1 - float((difference**2).sum()) / spread if spread else float("nan"),
    }


def deviations(labels: Array, predictions: Array) -> dict[str, float]:
    """The standard deviation of each metric over five samples of 80 % of the pairs; NaN below `LEAST_SAMPLES`."""
    if len(labels) < LEAST_SAMPLES:
        return dict.fromkeys(errors(labels, predictions), float("nan"))
    random = np.random.default_rng(0)  # the same data, the same report
    draws = [random.choice(len(labels), round(_SHARE * len(labels)), replace=False) for _ in range(_DRAWS)]
    found = [errors(labels[draw], predictions[draw]) for draw in draws]
    return {name: float(np.std([values[name] for values in found])) for name in found[0]}


def regression_metrics(labels: Array, predictions: Array) -> dict[str, dict[str, float]]:
    """`{"rmse": {"value", "standard_deviation"}, ...}` of at least one pair."""
    values, spread = errors(labels, predictions), deviations(labels, predictions)
    return {name: {"value": value, "standard_deviation": spread[name]} for name, value in values.items()}


def plain(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | str]]:
    """As they are written: JSON has no NaN, and the built-in monitor writes the word."""
    return {
        name: {key: value if np.isfinite(value) else "NaN" for key, value in metric.items()}
        for name, metric in metrics.items()
    }
