"""Fits a model to the series of the train channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost

from forecasters.boosted.hyperparameters import BoostedHyperparameters
from forecasters.boosted.linear import Linear, fit_linear
from forecasters.boosted.model import LEVELS, Boosted, Manifest
from forecasters.boosted.windows import Window, inputs, window
from forecasters.contract import ClientError
from forecasters.ranks import origins
from forecasters.series import Array, Series, feature_rows

WINDOWS = 3000
"""At most so many are learnt from, evenly over all series: training takes no longer on more history."""

STEPS = 6
"""Steps of the horizon, drawn at random, that the trees see of a window: its steps say much the same."""

HALF_TREES = 50
"""With so many horizons of history half of `num_round` trees are grown, with fewer less: they would learn its noise."""


@dataclass(frozen=True)
class Examples:
    """Windows, and the scores that came after each: `futures` is (n, horizon), NaN where missing. Windows overlap:
    together they span `horizons` horizons, and know no more than so many apart from each other would."""

    windows: Sequence[Window]
    futures: Array
    horizons: float


def fit(hyperparameters: BoostedHyperparameters, series: Sequence[Series]) -> Boosted:
    """The same series and seed give the same model. Raises `ClientError` where they are too short or don't fit."""
    codes, rows = _shape(series)
    found = _examples(hyperparameters, series)
    linear = fit_linear(found.windows, found.futures, LEVELS, found.horizons)
    manifest = Manifest(hyperparameters=hyperparameters, linear=linear, codes=codes, rows=rows)
    return Boosted(manifest, _grow(hyperparameters, found, linear))


def _shape(series: Sequence[Series]) -> tuple[int, int]:
    """How many codes and rows of features each of the series has."""
    codes = {len(one.cat) for one in series}
    if len(codes) > 1:
        raise ClientError("some series of the train channel have fewer codes in cat than others: give all the same")
    rows = {feature_rows(one) for one in series}
    if len(rows) > 1:
        raise ClientError("some series of the train channel have fewer rows of dynamic_feat than others")
    if any(one.dynamic_feat is not None and one.dynamic_feat.shape[1] != len(one.target) for one in series):
        raise ClientError("dynamic_feat in the train channel must be as long as target")
    return codes.pop(), rows.pop()


def _examples(hyperparameters: BoostedHyperparameters, series: Sequence[Series]) -> Examples:
    horizon = hyperparameters.prediction_length
    places = [(one, origin) for one in series for origin in origins(one.target, horizon)]
    if not places:
        raise ClientError(
            f"no series of the train channel has known values before and after a horizon of {horizon} steps: "
            "there is nothing to learn from"
        )
    kept = places[:: -(-len(places) // WINDOWS)]
    windows = [window(one, origin, hyperparameters.context) for one, origin in kept]
    came = [one.ranks.score(one.series.target[one.origin : one.origin + horizon]) for one in windows]
    return Examples(windows, np.stack(came), len(places) / horizon)


def _grow(hyperparameters: BoostedHyperparameters, found: Examples, linear: Linear) -> xgboost.Booster:
    random = np.random.default_rng(hyperparameters.seed)
    horizon = hyperparameters.prediction_length
    steps = random.integers(horizon, size=(len(found.windows), STEPS)).ravel()
    places = np.repeat(np.arange(len(found.windows)), STEPS)
    known = ~np.isnan(found.futures[places, steps])
    places, steps = places[known], steps[known]
    start = linear.scores(found.windows)
    data = xgboost.QuantileDMatrix(
        inputs(found.windows, places, steps),
        label=found.futures[places, steps],
        base_margin=start[places, :, steps],
        nthread=1,
    )
    rounds = hyperparameters.num_round * found.horizons / (found.horizons + HALF_TREES)
    return xgboost.train(_parameters(hyperparameters), data, max(round(rounds), 1))


def _parameters(hyperparameters: BoostedHyperparameters) -> dict[str, object]:
    own = hyperparameters.model_dump(include={"eta", "max_depth", "min_child_weight", "subsample", "colsample_bytree"})
    return own | {
        "objective": "reg:quantileerror",
        "quantile_alpha": list(LEVELS),
        "seed": hyperparameters.seed,
        "nthread": 1,
    }
