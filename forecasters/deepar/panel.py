"""Series laid out for the network, and windows cut from them.

A window at step t is what the network sees when it forecasts the horizon from t on: the context before t, further back
the lags, and the features of both context and horizon. All series lie in one flat tensor, each behind as many empty
steps as a window reaches back, so that a batch of windows is one gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.deepar import calendar
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.deepar.layout import Layout
from forecasters.series import Array, Series

Float32 = npt.NDArray[np.float32]
EDGE = 1e-4
"""How near to 0 and 1 the beta likelihood, infinite at both, sees a target."""


@dataclass(frozen=True)
class Panel:
    """`target` and `observed` are (N,), `features` (N, f), `cat` (series, c); `first` is where each series' reach
    of empty steps begins, and `steps` how many target steps each has."""

    target: torch.Tensor
    observed: torch.Tensor
    features: torch.Tensor
    cat: torch.Tensor
    first: torch.Tensor
    steps: torch.Tensor
    reach: int
    context: int
    horizon: int

    def windows(self, series: torch.Tensor, at: torch.Tensor) -> dict[str, torch.Tensor]:
        """The network's input for the windows of `series` (b,) at the steps `at` (b,)."""
        start = (self.first[series] + at)[:, None]
        past = start + torch.arange(self.reach)
        context = start + torch.arange(self.reach - self.context, self.reach)
        future = start + torch.arange(self.reach, self.reach + self.horizon)
        return {
            "feat_static_cat": self.cat[series],
            "feat_static_real": torch.zeros(len(series), 1),
            "past_time_feat": self.features[context],
            "past_target": self.target[past],
            "past_observed_values": self.observed[past],
            "future_time_feat": self.features[future],
        }

    def futures(self, series: torch.Tensor, at: torch.Tensor) -> dict[str, torch.Tensor]:
        """What came after those windows; the series must reach that far."""
        future = (self.first[series] + at)[:, None] + torch.arange(self.reach, self.reach + self.horizon)
        return {"future_target": self.target[future], "future_observed_values": self.observed[future]}


def panel(hyperparameters: DeepARHyperparameters, layout: Layout, series: Sequence[Series]) -> Panel:
    """Lays out `series`, with the features of the horizon after each as far as they are known."""
    reach = hyperparameters.context_length + max(layout.lags)
    horizon = hyperparameters.prediction_length
    steps = [len(one.target) for one in series]
    lengths = [reach + count + horizon for count in steps]
    return Panel(
        target=_flat([_padded(_filled(one.target, hyperparameters), reach, horizon) for one in series]),
        observed=_flat([_padded(~np.isnan(one.target), reach, horizon) for one in series]),
        features=_flat([_features(one, hyperparameters, layout, reach, horizon) for one in series]),
        cat=torch.tensor([one.cat if layout.cardinality else (0,) for one in series]),
        first=torch.tensor(np.cumsum([0, *lengths[:-1]])),
        steps=torch.tensor(steps),
        reach=reach,
        context=hyperparameters.context_length,
        horizon=horizon,
    )


def _flat(arrays: Sequence[Float32]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))


def _padded(values: npt.NDArray[np.generic], before: int, after: int) -> Float32:
    return np.pad(values.astype(np.float32), (before, after))


def _filled(target: Array, hyperparameters: DeepARHyperparameters) -> Array:
    """A missing value is the last one known before it; the loss does not count it, but the lags read it."""
    known = np.flatnonzero(~np.isnan(target))
    if known.size == 0:
        return np.zeros_like(target)
    nearest = np.searchsorted(known, np.arange(len(target)), side="right") - 1
    filled = target[known[np.maximum(nearest, 0)]]
    return np.clip(filled, EDGE, 1 - EDGE) if hyperparameters.likelihood == "beta" else filled


def _features(one: Series, hyperparameters: DeepARHyperparameters, layout: Layout, reach: int, horizon: int) -> Float32:
    """(reach + n + horizon, f); a network without any feature is given a constant."""
    steps = reach + len(one.target) + horizon
    columns = [calendar.features(layout.time_features, one.start, -reach, steps, hyperparameters.time_freq)]
    if layout.num_dynamic_feat and one.dynamic_feat is not None:
        scaled = (one.dynamic_feat.T - layout.feature_means) / layout.feature_deviations
        after = max(steps - reach - len(scaled), 0)
        columns.append(np.pad(scaled.astype(np.float32), ((reach, after), (0, 0))))
    features = np.concatenate(columns, axis=1)
    return features if features.shape[1] else np.zeros((steps, 1), dtype=np.float32)
