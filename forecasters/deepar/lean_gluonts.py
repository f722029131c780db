"""GluonTS's network and output distributions, imported without its trainers.

`gluonts.torch` and the packages in it import every estimator and so Lightning, which takes longer than a small
training. Bare packages in their place run nothing and leave the modules below importable. Import them from here only.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from types import ModuleType


def _skip_lightning() -> None:
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

__all__ = [
    "BetaOutput",
    "DeepARModel",
    "DistributionOutput",
    "NegativeBinomialOutput",
    "NormalOutput",
    "StudentTOutput",
]

# GluonTS 0.17 indexes tensors by a list; said once for each process, and nothing that a user can act on.
warnings.filterwarnings("ignore", "Using a non-tuple sequence for multidimensional indexing", UserWarning)
