"""The held-out windows of a history, and the loss over all of them; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.baselines import Forecast
from components.history import Array, History
from loopcast.metrics import mean_weighted_quantile_loss


@dataclass(frozen=True)
class Split:
    """`origins` are the indices of the first minute of each held-out window, rising; a window is `horizon` minutes."""

    origins: list[int]
    horizon: int
    stride: int

    @property
    def first(self) -> int:
        """The first held-out minute: training ends before it."""
        return self.origins[0]

    def pasts(self, history: History) -> list[History]:
        """What is known before each window."""
        return [history.until(origin) for origin in self.origins]

    def actuals(self, history: History) -> list[Array]:
        """What came in each window; arrays of shape (horizon,)."""
        return [history.target[origin : origin + self.horizon] for origin in self.origins]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Split:
        return Split(list(document["origins"]), document["horizon"], document["stride"])


def pool(forecasts: Sequence[Forecast]) -> Forecast:
    """The windows' forecasts one after another; shape (windows * horizon,) for each quantile."""
    return {quantile: np.concatenate([forecast[quantile] for forecast in forecasts]) for quantile in forecasts[0]}


def pooled_loss(actual: Sequence[Array], forecasts: Sequence[Forecast]) -> float:
    """The mean weighted quantile loss over all windows together."""
    return mean_weighted_quantile_loss(np.concatenate(list(actual)), pool(forecasts))
