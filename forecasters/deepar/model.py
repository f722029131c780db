"""A trained DeepAR: its folder, and its forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from forecasters.contract import ClientError
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.deepar.layout import Layout, layout
from forecasters.deepar.lean_gluonts import DeepARModel
from forecasters.deepar.network import build
from forecasters.deepar.panel import panel
from forecasters.deepar.training import fit
from forecasters.hosts import ALONE, Hosts, meeting
from forecasters.series import Array, Series, check_codes, check_features
from loopcast.forecast import Configuration, Prediction

MANIFEST = "manifest.json"
WEIGHTS = "weights.pt"


class Manifest(BaseModel):
    """All of a model but its weights."""

    hyperparameters: DeepARHyperparameters
    layout: Layout


@dataclass(frozen=True)
class DeepAR:
    """The same series is forecast alike whatever else is in a request: the seed is set for each."""

    manifest: Manifest
    network: DeepARModel

    @property
    def prediction_length(self) -> int:
        return self.manifest.hyperparameters.prediction_length

    def predict(self, series: Series, configuration: Configuration) -> Prediction:
        """Raises ValueError where `series` lacks what the model was trained with."""
        self._check(series)
        samples = self._samples(series, configuration.num_samples)
        wanted = configuration.output_types
        return Prediction(
            mean=samples.mean(axis=0).tolist() if "mean" in wanted else None,
            quantiles=_quantiles(samples, configuration.quantiles) if "quantiles" in wanted else None,
            samples=samples.tolist() if "samples" in wanted else None,
        )

    def _samples(self, series: Series, number: int) -> Array:
        """(number, prediction_length)."""
        hyperparameters = self.manifest.hyperparameters
        laid_out = panel(hyperparameters, self.manifest.layout, [series])
        torch.manual_seed(hyperparameters.seed)
        with torch.inference_mode():
            window = laid_out.windows(torch.tensor([0]), laid_out.steps)
            samples = self.network.eval()(**window, num_parallel_samples=number)
        return np.asarray(samples[0].numpy(), dtype=np.float64)

    def _check(self, series: Series) -> None:
        known = self.manifest.layout
        if known.cardinality:
            _check_codes(series, known.cardinality)
        if known.num_dynamic_feat:
            check_features(series, known.num_dynamic_feat, self.prediction_length)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), folder / WEIGHTS)
        (folder / MANIFEST).write_text(self.manifest.model_dump_json(by_alias=True, indent=1))


def train(hyperparameters: DeepARHyperparameters, series: Sequence[Series], hosts: Hosts = ALONE) -> DeepAR:
    """A model fitted to `series`; the same series, seed and number of hosts give the same model.

    Raises `ClientError`.
    """
    torch.manual_seed(hyperparameters.seed)
    shape = layout(hyperparameters, series)
    network = build(hyperparameters, shape)
    if not hosts.leads:
        torch.manual_seed(hyperparameters.seed + hosts.rank)  # the network is the same, the windows are not
    with meeting(hosts):
        fit(network, panel(hyperparameters, shape, series), hyperparameters, hosts)
    return DeepAR(Manifest(hyperparameters=hyperparameters, layout=shape), network)


def load(folder: Path) -> DeepAR:
    """Reads a model folder, running nothing in it; raises `ClientError` where it holds no such model."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
        network = build(manifest.hyperparameters, manifest.layout)
        network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    except (OSError, ValueError, RuntimeError) as error:
        raise ClientError(f"{folder} holds no model of this image: {error}") from error
    return DeepAR(manifest, network)


def _quantiles(samples: Array, levels: Sequence[str]) -> dict[str, list[float]]:
    values = np.quantile(samples, [float(level) for level in levels], axis=0)
    return dict(zip(levels, values.tolist(), strict=True))


def _check_codes(series: Series, cardinality: Sequence[int]) -> None:
    check_codes(series, len(cardinality))
    for code, size in zip(series.cat, cardinality, strict=True):
        if code >= size:
            raise ValueError(f"cat has the code {code}, but the model knows codes below {size}")
