"""Writes the loss above which a stage's model is held to have drifted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.run import Refused, read_json
from components.write_threshold.threshold import threshold
from loopcast import aws
from loopcast.names import Names


def write_threshold(names: Names, stage: str, package: Mapping[str, Any]) -> float:
    """Writes the stage's threshold from the package's statistics to SSM, up or down, and returns it."""
    statistics = read_json(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    if statistics["loss"] is None:
        raise Refused("The package's backtest has no loss, so that no threshold follows from it.")
    limit = threshold(statistics["loss"], statistics["window_losses"])
    name = names.parameter("thresholds", stage)
    aws.client("ssm").put_parameter(Name=name, Value=f"{limit:.6g}", Type="String", Overwrite=True)
    return limit
