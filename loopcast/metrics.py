"""Error metrics of quantile forecasts; pure functions over numpy arrays.

Shapes: `actual` is (n,), `forecast` is (n,) for one quantile, and a mapping from quantile level to (n,) for several.
A NaN in `actual` is a minute that never came: it is left out. Source of the loss: the DeepAR documentation's weighted
quantile loss, wQL(q) = 2 * sum(pinball loss) / sum(|actual|).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def pinball_loss(actual: Array, forecast: Array, quantile: float) -> Array:
    """The loss of each point, in the unit of the target; shape (n,)."""
    difference = actual - forecast
    return np.maximum(quantile * difference, (quantile - 1) * difference)


def weighted_quantile_loss(actual: Array, forecast: Array, quantile: float) -> float:
    """2 * sum(pinball loss) / sum(|actual|), without a unit; NaN where every actual is zero or missing."""
    known = ~np.isnan(actual)
    scale = float(np.abs(actual[known]).sum())
    if scale == 0:
        return float("nan")
    return 2 * float(pinball_loss(actual[known], forecast[known], quantile).sum()) / scale


def mean_weighted_quantile_loss(actual: Array, forecasts: Mapping[float, Array]) -> float:
    """The mean of the weighted quantile loss over the quantiles of `forecasts`."""
    return float(np.mean([weighted_quantile_loss(actual, forecast, q) for q, forecast in forecasts.items()]))


def coverage(actual: Array, lower: Array, upper: Array) -> float:
    """The share of known points within [lower, upper]; NaN where none is known."""
    known = ~np.isnan(actual)
    if not known.any():
        return float("nan")
    return float(np.mean((actual[known] >= lower[known]) & (actual[known] <= upper[known])))


def bias(actual: Array, forecast: Array) -> float:
    """sum(forecast - actual) / sum(|actual|) over known points; above 0 where the forecast is too high."""
    known = ~np.isnan(actual)
    scale = float(np.abs(actual[known]).sum())
    return float((forecast[known] - actual[known]).sum()) / scale if scale else float("nan")


def root_mean_squared_error(actual: Array, forecast: Array) -> float:
    """In the unit of the target; NaN where no point is known."""
    known = ~np.isnan(actual)
    return float(np.sqrt(np.mean((forecast[known] - actual[known]) ** 2))) if known.any() else float("nan")
