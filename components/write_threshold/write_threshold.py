"""Writes the loss above which a stage's model is held to have drifted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.algorithms import CHAMPION_STAGES
from components.models import served_model
from components.run import Refused, read_json
from components.write_threshold.threshold import threshold
from loopcast import aws
from loopcast.names import Names


def write_threshold(names: Names, stage: str, package: Mapping[str, Any]) -> float:
    """Writes the stage's threshold from the package's statistics to SSM, up or down, and returns it."""
    statistics = read_json(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    if statistics["loss"] is None:
        raise Refused("The package's backtest has no loss, so that no threshold follows from it.")
    return _put(names, stage, threshold(statistics["loss"], statistics["window_losses"]))


def renew_threshold(names: Names, evaluation: Mapping[str, Any], result: Mapping[str, Any]) -> float | None:
    """Writes the champion's threshold anew from the newest windows when no better model was found; None when one was.

    What nothing beats is not what has drifted: where every model has become worse, the data has become harder, and a
    threshold of easier times would ask for retraining for ever, in each stage that the champion serves.
    """
    champion = evaluation["champion"]
    if champion is None or result["model_package_arn"] or evaluation["scores"][champion]["loss"] is None:
        return None
    score = evaluation["scores"][champion]
    limit = threshold(score["loss"], score["window_losses"])
    for stage in _stages_of(names, champion):
        _put(names, stage, limit)
    return limit


def _stages_of(names: Names, champion: str) -> list[str]:
    """The champion's stage, and the other where that serves the same model."""
    model = served_model(names, champion)
    return [stage for stage in CHAMPION_STAGES if stage == champion or (model and served_model(names, stage) == model)]


def _put(names: Names, stage: str, limit: float) -> float:
    name = names.parameter("thresholds", stage)
    aws.client("ssm").put_parameter(Name=name, Value=f"{limit:.6g}", Type="String", Overwrite=True)
    return limit
