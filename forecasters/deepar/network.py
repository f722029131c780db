"""The network: GluonTS's DeepAR and its output distributions."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from types import ModuleType

import torch

from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.deepar.layout import Layout


def _skip_lightning() -> None:
    """Lets GluonTS's network be imported without its trainers.

    `gluonts.torch` and the packages in it import every estimator and so Lightning, which takes longer than a small
    training. Bare packages in their place leave the modules below importable and run nothing.
    """
    spec = importlib.util.find_spec("gluonts")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ImportError("gluonts is not installed")
    for name in ("gluonts.torch", "gluonts.torch.model", "gluonts.torch.model.deepar"):
        package = ModuleType(name)
        package.__path__ = [f"{folders[0]}/{name.partition('.')[2].replace('.', '/')}"]
        sys.modules.setdefault(name, package)


_skip_lightning()

from gluonts.torch.distributions import NegativeBinomialOutput, StudentTOutput  # noqa: E402
from gluonts.torch.distributions.distribution_output import BetaOutput, DistributionOutput, NormalOutput  # noqa: E402
from gluonts.torch.model.deepar.module import DeepARModel  # noqa: E402
from torch.distributions import Distribution, Laplace  # noqa: E402

__all__ = ["DeepARModel", "build"]

# GluonTS 0.17 indexes tensors by a list; said once for each process, and nothing that a user can act on.
warnings.filterwarnings("ignore", "Using a non-tuple sequence for multidimensional indexing", UserWarning)
Distribution.set_default_validate_args(False)

THREADS = 1
"""A second thread gains little on a network this small, and on busy cores the two wait for each other for minutes. A
fixed count also keeps results the same on every machine: sums in another order round differently."""


class Point(Laplace):  # type: ignore[misc]
    """All its mass is at `loc`; its loss is the absolute error in units of `scale`."""

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008 - torch's own signature
        return self.loc.expand(self._extended_shape(sample_shape))


class PointOutput(DistributionOutput):  # type: ignore[misc]
    """deterministic-L1: a forecast without uncertainty."""

    args_dim = {"loc": 1}  # noqa: RUF012 - GluonTS's own signature
    event_shape = ()

    @classmethod
    def domain_map(cls, loc: torch.Tensor) -> tuple[torch.Tensor]:
        return (loc.squeeze(-1),)

    def distribution(
        self, distr_args: tuple[torch.Tensor], loc: torch.Tensor | None = None, scale: torch.Tensor | None = None
    ) -> Point:
        (center,) = distr_args
        unit = torch.ones_like(center) if scale is None else scale
        return Point(center * unit, unit)


OUTPUTS = {
    "gaussian": NormalOutput,
    "beta": BetaOutput,
    "negative-binomial": NegativeBinomialOutput,
    "student-T": StudentTOutput,
    "deterministic-L1": PointOutput,
}


def build(hyperparameters: DeepARHyperparameters, layout: Layout) -> DeepARModel:
    """An untrained network; its weights come from torch's generator."""
    torch.set_num_threads(THREADS)
    return DeepARModel(
        freq=hyperparameters.time_freq,
        context_length=hyperparameters.context_length,
        prediction_length=hyperparameters.prediction_length,
        num_feat_dynamic_real=max(len(layout.time_features) + layout.num_dynamic_feat, 1),
        num_feat_static_cat=max(len(layout.cardinality), 1),
        cardinality=layout.cardinality or [1],
        embedding_dimension=[hyperparameters.embedding_dimension] * len(layout.cardinality) or [1],
        num_layers=hyperparameters.num_layers,
        hidden_size=hyperparameters.num_cells,
        # Between layers only: torch warns where there is one.
        dropout_rate=hyperparameters.dropout_rate if hyperparameters.num_layers > 1 else 0.0,
        distr_output=OUTPUTS[hyperparameters.likelihood](),
        lags_seq=layout.lags,
        scaling=hyperparameters.likelihood != "beta",
        default_scale=layout.default_scale,
    )
