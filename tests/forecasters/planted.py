"""Series whose future is known in law, and naive forecasts of them to be beaten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from loopcast.metrics import coverage, mean_weighted_quantile_loss
from tests.forecasters.conftest import Endpoint, series

Array = npt.NDArray[np.float64]

HORIZON = 12
HYPERPARAMETERS = {"prediction_length": HORIZON, "time_freq": "5min"}
LEVELS = ("0.05", "0.5", "0.95")


def wandering(steps: int, seed: int = 0) -> Array:
    """A level that wanders and comes back within some hours, with noise on top; always above 0."""
    random = np.random.default_rng(seed)
    level = np.zeros(steps)
    for step in range(1, steps):
        level[step] = 0.97 * level[step - 1] + 0.15 * random.normal()
    return np.asarray(1000 * np.exp(level + 0.1 * random.normal(size=steps)))


def daily(steps: int) -> Array:
    """Low by night and high by day, with noise."""
    noise = np.random.default_rng(1).normal(0, 50, steps)
    return np.asarray(1000 + 500 * np.sin(np.arange(steps) * 2 * np.pi / 288) + noise)


def forecasts(endpoint: Endpoint, target: Array, origins: Sequence[int], past: int = 288) -> dict[float, Array]:
    """The quantiles of the horizons after `origins`, joined; each is asked with the `past` steps before it."""
    predictions = endpoint.predictions(
        *(series(target[origin - past : origin].tolist()) for origin in origins),
        quantiles=list(LEVELS),
        output_types=["quantiles"],
    )
    return {float(level): np.concatenate([one["quantiles"][level] for one in predictions]) for level in LEVELS}


def naive(target: Array, origins: Sequence[int], past: int = 288) -> dict[float, Array]:
    """The quantiles of the `past` steps before each origin."""
    return {
        float(level): np.concatenate(
            [np.full(HORIZON, np.quantile(target[origin - past : origin], float(level))) for origin in origins]
        )
        for level in LEVELS
    }


def came(target: Array, origins: Sequence[int]) -> Array:
    return np.concatenate([target[origin : origin + HORIZON] for origin in origins])


def loss(target: Array, origins: Sequence[int], quantiles: Mapping[float, Array]) -> float:
    return mean_weighted_quantile_loss(came(target, origins), quantiles)


def covered(target: Array, origins: Sequence[int], quantiles: Mapping[float, Array]) -> float:
    return coverage(came(target, origins), quantiles[0.05], quantiles[0.95])


def rises(prediction: Mapping[str, Any]) -> bool:
    """Whether the quantiles of a prediction rise with their level, at each step."""
    values = [prediction["quantiles"][level] for level in sorted(prediction["quantiles"], key=float)]
    return bool((np.diff(np.array(values), axis=0) >= 0).all())
