"""What can be set of the boosted model; names and ranges are XGBoost's where it has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from forecasters.contract import Hyperparameters
from forecasters.evaluation import DEFAULT_QUANTILES, Quantiles
from forecasters.frequency import TimeFrequency
from forecasters.ranks import default_context

Share = Annotated[float, Field(gt=0, le=1)]


class BoostedHyperparameters(Hyperparameters):
    """`context_length` is how many of the latest steps count: a day's, at least four horizons, unless given."""

    prediction_length: PositiveInt
    time_freq: TimeFrequency
    context_length: PositiveInt | None = None
    num_round: PositiveInt = 40
    eta: Share = 0.05
    max_depth: Annotated[int, Field(gt=0, le=12)] = 3
    min_child_weight: NonNegativeFloat = 50
    subsample: Share = 0.7
    colsample_bytree: Share = 0.5
    test_quantiles: Quantiles = DEFAULT_QUANTILES
    seed: NonNegativeInt = 0

    @property
    def context(self) -> int:
        return self.context_length or default_context(self.time_freq, self.prediction_length)
