"""What the training data decide about a model, beside its hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from forecasters.contract import ClientError
from forecasters.deepar import calendar
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.series import Array, Series, feature_rows

MAX_ABSOLUTE = 1e30
"""Above it the network's single precision is at its end."""


class Layout(BaseModel):
    """The shape of a model's input and the constants that scale it."""

    model_config = ConfigDict(frozen=True)
    lags: list[int]
    time_features: list[str]
    cardinality: list[int]
    feature_means: list[float]
    feature_deviations: list[float]
    default_scale: float

    @property
    def num_dynamic_feat(self) -> int:
        return len(self.feature_means)


def layout(hyperparameters: DeepARHyperparameters, series: Sequence[Series]) -> Layout:
    """Raises `ClientError` where the series don't fit together or the hyperparameters."""
    _check_targets(hyperparameters, series)
    longest = max(len(one.target) for one in series)
    means, deviations = _feature_statistics(hyperparameters, series)
    return Layout(
        lags=calendar.lags(hyperparameters.time_freq, longest),
        time_features=calendar.feature_names(hyperparameters.time_freq, longest),
        cardinality=_cardinality(hyperparameters, series),
        feature_means=means,
        feature_deviations=deviations,
        default_scale=_mean_absolute(series),
    )


def _check_targets(hyperparameters: DeepARHyperparameters, series: Sequence[Series]) -> None:
    known = np.concatenate([one.target[~np.isnan(one.target)] for one in series])
    if known.size == 0:
        raise ClientError("each target value of the train channel is missing: there is nothing to learn from")
    if np.abs(known).max() > MAX_ABSOLUTE:
        raise ClientError(f"a target value of the train channel is beyond {MAX_ABSOLUTE:g}: scale the targets down")
    if hyperparameters.likelihood == "beta" and (known.min() < 0 or known.max() > 1):
        raise ClientError("likelihood beta takes targets between 0 and 1 only: choose another likelihood")
    if hyperparameters.likelihood == "negative-binomial" and known.min() < 0:
        raise ClientError("likelihood negative-binomial takes no negative targets: choose another likelihood")


def _mean_absolute(series: Sequence[Series]) -> float:
    return float(np.nanmean(np.abs(np.concatenate([one.target for one in series])))) or 1.0


def _cardinality(hyperparameters: DeepARHyperparameters, series: Sequence[Series]) -> list[int]:
    if hyperparameters.cardinality in ("ignore", ""):
        return []
    counts = {len(one.cat) for one in series}
    if len(counts) > 1:
        raise ClientError("some series of the train channel have fewer codes in cat than others: give all the same")
    largest = [max(codes) + 1 for codes in zip(*(one.cat for one in series), strict=True)]
    if hyperparameters.cardinality == "auto":
        return largest
    given = [int(size) for size in hyperparameters.cardinality]
    if len(given) != len(largest) or any(code > size for code, size in zip(largest, given, strict=True)):
        raise ClientError(f"cardinality is {given}, but cat in the train channel needs {largest}")
    return given


def _feature_statistics(
    hyperparameters: DeepARHyperparameters, series: Sequence[Series]
) -> tuple[list[float], list[float]]:
    """Mean and deviation of each dynamic feature, none where there are none or they are to be ignored."""
    if hyperparameters.num_dynamic_feat in ("ignore", ""):
        return [], []
    counts = {feature_rows(one) for one in series}
    if len(counts) > 1:
        raise ClientError("some series of the train channel have fewer rows of dynamic_feat than others")
    (count,) = counts
    if hyperparameters.num_dynamic_feat not in ("auto", count):
        raise ClientError(
            f"num_dynamic_feat is {hyperparameters.num_dynamic_feat}, but dynamic_feat in the train channel has {count}"
        )
    if count == 0:
        return [], []
    values = np.concatenate([_training_features(one) for one in series], axis=1)
    deviations = values.std(axis=1)
    return values.mean(axis=1).tolist(), np.where(deviations > 0, deviations, 1.0).tolist()


def _training_features(one: Series) -> Array:
    if one.dynamic_feat is None or one.dynamic_feat.shape[1] != len(one.target):
        raise ClientError("dynamic_feat in the train channel must be as long as target")
    return one.dynamic_feat
