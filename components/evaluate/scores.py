"""How well forecasts met what came; pure functions over the held-out windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.baselines import Forecast
from components.history import Array
from components.windows import pool
from loopcast import metrics


@dataclass(frozen=True)
class Score:
    """A forecaster's errors over all windows; NaN where every minute is zero or never came.

    `loss` is the mean weighted quantile loss of all windows together, `losses` the same by quantile, `window_losses`
    the loss of each window alone; `coverage` the share of minutes between the outermost quantiles; `bias` and `rmse`
    (in the target's unit) are the median's.
    """

    loss: float
    losses: dict[str, float]
    window_losses: list[float]
    coverage: float
    bias: float
    rmse: float

    def to_json(self) -> dict[str, Any]:
        return {key: finite(value) for key, value in asdict(self).items()}


def score(actual: Sequence[Array], forecasts: Sequence[Forecast]) -> Score:
    """The score of `forecasts`, one a window, each with arrays of its window's shape; quantiles contain 0.5."""
    came, pooled = np.concatenate(list(actual)), pool(forecasts)
    lowest, highest = min(pooled), max(pooled)
    return Score(
        loss=metrics.mean_weighted_quantile_loss(came, pooled),
        losses={f"{q:g}": metrics.weighted_quantile_loss(came, values, q) for q, values in pooled.items()},
        window_losses=[
            metrics.mean_weighted_quantile_loss(window, forecast)
            for window, forecast in zip(actual, forecasts, strict=True)
        ],
        coverage=metrics.coverage(came, pooled[lowest], pooled[highest]),
        bias=metrics.bias(came, pooled[0.5]),
        rmse=metrics.root_mean_squared_error(came, pooled[0.5]),
    )


def windows_won(ours: Sequence[float], theirs: Sequence[float]) -> int:
    """In how many windows our loss is the lower."""
    return sum(one < other for one, other in zip(ours, theirs, strict=True))


def finite(value: Any) -> Any:
    """`value` for JSON, which has no NaN: null stands for it, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value
