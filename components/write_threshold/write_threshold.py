"""The loss above which a stage's model is held to have drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.run import Refused, read_json
from loopcast import aws
from loopcast.names import Names

_DEVIATIONS = 4.0
_MAD_TO_DEVIATION = 1.4826
_LEAST_FACTOR = 1.5


def threshold(loss: float, window_losses: Sequence[float]) -> float:
    """A limit that the noise of single windows does not break.

    The median of the backtest's window losses and four robust standard deviations (1.4826 times the median absolute
    deviation), and at least one and a half times the loss of all windows together. Windows whose loss is NaN don't
    count.
    """
    known = np.array([value for value in window_losses if value is not None and np.isfinite(value)])
    median = float(np.median(known))
    spread = _MAD_TO_DEVIATION * float(np.median(np.abs(known - median)))
    return max(median + _DEVIATIONS * spread, _LEAST_FACTOR * loss)


def write_threshold(names: Names, stage: str, package: Mapping[str, Any]) -> float:
    """Writes the stage's threshold from the package's statistics to SSM, up or down, and returns it."""
    statistics = read_json(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    if statistics["loss"] is None:
        raise Refused("The package's backtest has no loss, so that no threshold follows from it.")
    limit = threshold(statistics["loss"], statistics["window_losses"])
    name = names.parameter("thresholds", stage)
    aws.client("ssm").put_parameter(Name=name, Value=f"{limit:.6g}", Type="String", Overwrite=True)
    return limit
