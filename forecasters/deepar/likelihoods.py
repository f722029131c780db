"""The output distributions, by the built-in algorithm's names.

GluonTS scales a distribution by wrapping it in an affine transform, which computes shapes at each use and imports SymPy
to do so. Here the parameters are scaled instead, which comes to the same.
"""

from __future__ import annotations

import torch
from torch.distributions import Distribution, Laplace

from forecasters.deepar.hyperparameters import Likelihood
from forecasters.deepar.lean_gluonts import (
    BetaOutput,
    DistributionOutput,
    NegativeBinomialOutput,
    NormalOutput,
    StudentTOutput,
)

Distribution.set_default_validate_args(False)


class Gaussian(NormalOutput):  # type: ignore[misc]
    def distribution(
        self, distr_args: tuple[torch.Tensor, ...], loc: None = None, scale: torch.Tensor | float = 1.0
    ) -> Distribution:
        center, spread = distr_args
        return self.distr_cls(center * scale, spread * scale)


class StudentT(StudentTOutput):  # type: ignore[misc]
    def distribution(
        self, distr_args: tuple[torch.Tensor, ...], loc: None = None, scale: torch.Tensor | float = 1.0
    ) -> Distribution:
        freedom, center, spread = distr_args
        return self.distr_cls(freedom, center * scale, spread * scale)


class Beta(BetaOutput):  # type: ignore[misc]
    """Its network is not scaled: the scale is 1."""

    def distribution(
        self, distr_args: tuple[torch.Tensor, ...], loc: None = None, scale: torch.Tensor | float = 1.0
    ) -> Distribution:
        return self.distr_cls(*distr_args)


class Point(Laplace):  # type: ignore[misc]
    """All its mass is at `loc`; its loss is the absolute error in units of `scale`."""

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008 - torch's own signature
        return self.loc.expand(self._extended_shape(sample_shape))


class DeterministicL1(DistributionOutput):  # type: ignore[misc]
    """A forecast without uncertainty."""

    args_dim = {"loc": 1}  # noqa: RUF012 - GluonTS's own signature
    event_shape = ()

    @classmethod
    def domain_map(cls, loc: torch.Tensor) -> tuple[torch.Tensor]:
        return (loc.squeeze(-1),)

    def distribution(
        self, distr_args: tuple[torch.Tensor, ...], loc: None = None, scale: torch.Tensor | float = 1.0
    ) -> Distribution:
        (center,) = distr_args
        return Point(center * scale, scale)


LIKELIHOODS: dict[Likelihood, type[DistributionOutput]] = {
    "gaussian": Gaussian,
    "beta": Beta,
    "negative-binomial": NegativeBinomialOutput,
    "student-T": StudentT,
    "deterministic-L1": DeterministicL1,
}
