"""The statistical model, `python -m forecasters.statistical train|serve`: an ARMA process of the latest values' ranks.

Each value is seen as its score among the latest `context_length` (`forecasters.ranks`). An ARMA process, fitted by
maximum likelihood (statsmodels), says how scores go on, and how sure that is; far ahead it comes to the context's own
quantiles. Categories and dynamic features are not used.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, NonNegativeInt, PositiveInt

from forecasters import program
from forecasters.answers import answer
from forecasters.contract import ClientError, Folders, Hyperparameters, read_hyperparameters
from forecasters.evaluation import DEFAULT_QUANTILES, Quantiles, evaluate, report
from forecasters.frequency import TimeFrequency
from forecasters.ranks import default_context, normal_scores, origins, ranks
from forecasters.series import Array, Series, read_channel
from loopcast.forecast import Configuration, Prediction

MANIFEST = "manifest.json"
EVALUATION_SAMPLES = 100
CALIBRATED = 100
"""Windows, evenly over the history, by which the spread of the forecasts is set right."""

TRUST = 30.0
"""How many horizons of history weigh as much as the belief that the process knows its spread."""

FITTED_STEPS = 6000
"""The newest steps that the process is fitted to; more change it no more."""


class StatisticalHyperparameters(Hyperparameters):
    """`context_length` is how many of the latest steps count (a day's, at least four horizons, unless given);
    the others are the orders of the process and what the test channel is scored at."""

    prediction_length: PositiveInt
    time_freq: TimeFrequency
    context_length: PositiveInt | None = None
    autoregressive_order: PositiveInt = 2
    moving_average_order: NonNegativeInt = 1
    test_quantiles: Quantiles = DEFAULT_QUANTILES
    seed: NonNegativeInt = 0

    @property
    def context(self) -> int:
        return self.context_length or default_context(self.time_freq, self.prediction_length)


class Manifest(BaseModel):
    """The whole model: `coefficients` are the process's, in statsmodels' order, the variance of its noise last;
    `width` multiplies the deviations that it says."""

    hyperparameters: StatisticalHyperparameters
    coefficients: list[float]
    width: float


@dataclass(frozen=True)
class Statistical:
    """A fitted model."""

    manifest: Manifest

    @property
    def prediction_length(self) -> int:
        return self.manifest.hyperparameters.prediction_length

    def predict(self, series: Series, configuration: Configuration) -> Prediction:
        """Raises ValueError where every one of the latest steps is missing."""
        context = series.target[-self.manifest.hyperparameters.context :]
        found = ranks(context)
        expected, deviation = self.ahead(found.score(context))

        def quantiles(levels: Array) -> Array:
            return found.value(expected + deviation * normal_scores(levels)[:, None])

        return answer(quantiles, configuration, self.manifest.hyperparameters.seed)

    def ahead(self, scores: Array) -> tuple[Array, Array]:
        """Mean and deviation of the scores of each step of the horizon."""
        process = _process(scores, self.manifest.hyperparameters)
        ahead = process.filter(self.manifest.coefficients).get_forecast(self.prediction_length)
        return np.asarray(ahead.predicted_mean), self.manifest.width * np.asarray(ahead.se_mean)


def fit(hyperparameters: StatisticalHyperparameters, series: Sequence[Series]) -> Statistical:
    """The process that fits the newest steps of all `series` best. Raises `ClientError` where nothing is known."""
    scores = _joined([_newest_scores(one, len(series)) for one in series])
    if np.isnan(scores).all():
        raise ClientError("each target value of the train channel is missing: there is nothing to learn from")
    process = _process(scores, hyperparameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a search that ends before it is sure has found what serves
        fitted = process.fit(disp=False, maxiter=50)
    manifest = Manifest(hyperparameters=hyperparameters, coefficients=fitted.params.tolist(), width=1)
    return Statistical(manifest.model_copy(update={"width": _width(Statistical(manifest), series)}))


def _width(model: Statistical, series: Sequence[Series]) -> float:
    """How much wider, or narrower, what came lay about the forecast than the process says; the less history, the
    nearer to 1."""
    hyperparameters = model.manifest.hyperparameters
    horizon = hyperparameters.prediction_length
    places = [(one, origin) for one in series for origin in origins(one.target, horizon)]
    if not places:
        return 1.0
    missed = []
    for one, origin in places[:: -(-len(places) // CALIBRATED)]:
        context = one.target[:origin][-hyperparameters.context :]
        found = ranks(context)
        expected, deviation = model.ahead(found.score(context))
        missed.append((found.score(one.target[origin : origin + horizon]) - expected) / deviation)
    found_width = float(np.nanquantile(np.abs(missed), 0.9) / normal_scores([0.95])[0])
    horizons = len(places) / horizon
    return 1 + (found_width - 1) * horizons / (horizons + TRUST)


def _newest_scores(series: Series, among: int) -> Array:
    newest = series.target[-max(FITTED_STEPS // among, 1) :]
    return newest if np.isnan(newest).all() else ranks(newest).score(newest)


def _joined(scores: Sequence[Array]) -> Array:
    """One after another, so far apart that the process forgets one before the next."""
    apart = np.full(200, np.nan)
    return np.concatenate([part for one in scores for part in (apart, one)][1:])


def _process(scores: Array, hyperparameters: StatisticalHyperparameters) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # slow: a mistake is told without waiting for it

    order = (hyperparameters.autoregressive_order, 0, hyperparameters.moving_average_order)
    return SARIMAX(scores, order=order)


def train(folders: Folders) -> None:
    """Fits the train channel, writes the model and scores it on the test channel where there is one."""
    hyperparameters = read_hyperparameters(StatisticalHyperparameters, folders)
    model = fit(hyperparameters, read_channel(folders.channel("train"), "train"))
    folders.model.mkdir(parents=True, exist_ok=True)
    (folders.model / MANIFEST).write_text(model.manifest.model_dump_json())
    if folders.channel("test").is_dir():
        tests = read_channel(folders.channel("test"), "test")
        print(report(evaluate(model, tests, hyperparameters.test_quantiles, EVALUATION_SAMPLES)), flush=True)


def load(folder: Path) -> Statistical:
    """Reads a model folder; raises `ClientError` where it holds no such model."""
    try:
        return Statistical(Manifest.model_validate_json((folder / MANIFEST).read_text()))
    except (OSError, ValueError) as error:
        raise ClientError(f"{folder} holds no model of this image: {error}") from error


if __name__ == "__main__":
    program.main("forecasters.statistical", __doc__.partition("\n")[0], train, load)
