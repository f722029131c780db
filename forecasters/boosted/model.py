"""A trained model: a linear forecast of scores, trees that correct its quantiles, and the way back to values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost
from pydantic import BaseModel

from forecasters.answers import answer
from forecasters.boosted.hyperparameters import BoostedHyperparameters
from forecasters.boosted.linear import Linear
from forecasters.boosted.windows import Window, inputs, window
from forecasters.contract import ClientError
from forecasters.ranks import normal_scores
from forecasters.series import Array, Series, check_codes, check_features
from loopcast.forecast import Configuration, Prediction

MANIFEST = "manifest.json"
TREES = "trees.json"
LEVELS = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
"""What is learnt; other levels lie on lines between these, and beyond them, over the levels' normal scores."""


class Manifest(BaseModel):
    """All of a model but its trees; `codes` and `rows` are how many of cat and dynamic_feat it was trained with."""

    hyperparameters: BoostedHyperparameters
    linear: Linear
    codes: int
    rows: int


@dataclass(frozen=True)
class Boosted:
    """The same series is forecast alike whatever else is in a request."""

    manifest: Manifest
    trees: xgboost.Booster

    @property
    def prediction_length(self) -> int:
        return self.manifest.hyperparameters.prediction_length

    def predict(self, series: Series, configuration: Configuration) -> Prediction:
        """Raises ValueError where the latest steps are missing, or `series` lacks what the model was trained with."""
        self._check(series)
        latest = window(series, len(series.target), self.manifest.hyperparameters.context)
        learnt = self._scores(latest)

        def quantiles(levels: Array) -> Array:
            return latest.ranks.value(_between(learnt, normal_scores(levels)))

        return answer(quantiles, configuration, self.manifest.hyperparameters.seed)

    def _scores(self, latest: Window) -> Array:
        """(levels, horizon), rising with the level."""
        steps = np.arange(self.prediction_length)
        given = inputs([latest], np.zeros_like(steps), steps)
        start = self.manifest.linear.scores([latest])[0].T
        scores = self.trees.inplace_predict(given, base_margin=start).reshape(start.shape)
        return np.sort(np.asarray(scores, dtype=np.float64), axis=1).T

    def _check(self, series: Series) -> None:
        check_codes(series, self.manifest.codes)
        if self.manifest.rows:
            check_features(series, self.manifest.rows, self.prediction_length)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.trees.save_model(folder / TREES)
        (folder / MANIFEST).write_text(self.manifest.model_dump_json())


def load(folder: Path) -> Boosted:
    """Reads a model folder, running nothing in it; raises `ClientError` where it holds no such model."""
    trees = xgboost.Booster({"nthread": 1})
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
        trees.load_model(folder / TREES)
    except (OSError, ValueError, xgboost.core.XGBoostError) as error:
        raise ClientError(f"{folder} holds no model of this image: {error}") from error
    return Boosted(manifest, trees)


def _between(learnt: Array, wanted: Array) -> Array:
    """(wanted, horizon): from the scores at LEVELS those at other levels, given as normal scores."""
    known = normal_scores(LEVELS)
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    share = (wanted - known[right - 1]) / (known[right] - known[right - 1])
    return np.asarray(learnt[right - 1] + share[:, None] * (learnt[right] - learnt[right - 1]), dtype=np.float64)
