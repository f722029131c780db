"""The scores of a model on the test channel, printed as the built-in algorithms print them.

Each series' last horizon is forecast from what came before it. The lines are what SageMaker's metric definitions parse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from pydantic import BeforeValidator, Field

from forecasters.contract import ClientError, list_from_json
from forecasters.series import Array, Series
from loopcast.forecast import Configuration, Prediction
from loopcast.metrics import pinball_loss, root_mean_squared_error, weighted_quantile_loss

Quantile = Annotated[float, Field(gt=0, lt=1)]
Quantiles = Annotated[tuple[Quantile, ...], Field(min_length=1), BeforeValidator(list_from_json)]
DEFAULT_QUANTILES = tuple(tenth / 10 for tenth in range(1, 10))


class Forecaster(Protocol):
    """A trained model."""

    @property
    def prediction_length(self) -> int: ...

    def predict(self, series: Series, configuration: Configuration) -> Prediction:
        """The forecast of the `prediction_length` steps after `series`; raises ValueError where it can't be made."""


@dataclass(frozen=True)
class Scores:
    """Over all series and steps together; NaN where no actual value is known."""

    rmse: float
    absolute_quantile_loss: float
    weighted_quantile_losses: dict[float, float]

    @property
    def weighted_quantile_loss(self) -> float:
        return float(np.mean(list(self.weighted_quantile_losses.values())))


def evaluate(forecaster: Forecaster, tests: Sequence[Series], quantiles: Sequence[float], num_samples: int) -> Scores:
    """Scores of the last horizon of each series; raises `ClientError` where a series can't be forecast."""
    configuration = Configuration(
        num_samples=num_samples,
        output_types=["mean", "quantiles"],
        quantiles=[f"{quantile:g}" for quantile in quantiles],
    )
    predictions = [_predict(forecaster, number, series, configuration) for number, series in enumerate(tests, 1)]
    actual = np.concatenate([series.target[-forecaster.prediction_length :] for series in tests])
    forecasts = {quantile: _joined(predictions, f"{quantile:g}") for quantile in quantiles}
    return _score(actual, np.concatenate([prediction.mean or [] for prediction in predictions]), forecasts)


def _predict(forecaster: Forecaster, number: int, series: Series, configuration: Configuration) -> Prediction:
    horizon = forecaster.prediction_length
    if len(series.target) <= horizon:
        raise ClientError(f"series {number} of the test channel must be longer than prediction_length ({horizon})")
    try:
        return forecaster.predict(series.before_the_last(horizon), configuration)
    except ValueError as error:
        raise ClientError(f"series {number} of the test channel: {error}") from error


def _joined(predictions: Sequence[Prediction], quantile: str) -> Array:
    return np.concatenate([(prediction.quantiles or {})[quantile] for prediction in predictions])


def _score(actual: Array, mean: Array, forecasts: dict[float, Array]) -> Scores:
    known = ~np.isnan(actual)
    sums = [2 * pinball_loss(actual[known], forecast[known], q).sum() for q, forecast in forecasts.items()]
    return Scores(
        rmse=root_mean_squared_error(actual, mean),
        absolute_quantile_loss=float(np.mean(sums)) if known.any() else float("nan"),
        weighted_quantile_losses={q: weighted_quantile_loss(actual, forecast, q) for q, forecast in forecasts.items()},
    )


def report(scores: Scores) -> str:
    """The lines that the built-in DeepAR prints at the end of a job with a test channel."""
    weighted = scores.weighted_quantile_loss
    lines = [
        f"#test_score (algo-1, RMSE): {scores.rmse}",
        f"#test_score (algo-1, mean_absolute_QuantileLoss): {scores.absolute_quantile_loss}",
        f"#test_score (algo-1, mean_wQuantileLoss): {weighted}",
        *(
            f"#test_score (algo-1, wQuantileLoss[{quantile:g}]): {loss}"
            for quantile, loss in scores.weighted_quantile_losses.items()
        ),
        f"#quality_metric: host=algo-1, test RMSE <loss>={scores.rmse}",
        f"#quality_metric: host=algo-1, test mean_wQuantileLoss <loss>={weighted}",
    ]
    return "\n".join(lines)
