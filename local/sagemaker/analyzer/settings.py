"""What the container is told by its environment variables, which have the built-in container's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

CONTRACT = "/opt/ml"


class AnalysisFailed(Exception):
    """There is nothing sound to report; the message says why, to be read as a FailureReason."""


@dataclass(frozen=True)
class Settings:
    """Where the data lies and how it is read; paths are those that this process sees.

    `ground_truth` is None when labels lie in the data set itself, as they do for a baseline; `inference` and `label`
    say where predictions and labels are in a record; `start` and `end` bound the predictions' times; `endpoint` and
    `schedule` are the dimensions of metrics.
    """

    base: Path
    dataset: Path
    format: dict[str, Any]
    ground_truth: Path | None
    constraints: Path | None
    output: Path
    inference: str
    label: str
    start: datetime | None
    end: datetime | None
    metric_time: datetime | None
    publish: bool
    endpoint: str
    schedule: str


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Raises `AnalysisFailed` when a variable is missing or unusable."""
    base = Path(variables.get("SAGEMAKER_BASE_DIR", CONTRACT))
    problem = variables.get("problem_type", "Regression")
    if problem != "Regression":
        raise AnalysisFailed(f"the problem type {problem} is not known to this analyzer: only Regression is")
    return Settings(
        base=base,
        dataset=_path(base, _needed(variables, "dataset_source")),
        format=_format(_needed(variables, "dataset_format")),
        ground_truth=_optional_path(base, variables, "ground_truth_source"),
        constraints=_optional_path(base, variables, "baseline_constraints"),
        output=_path(base, _needed(variables, "output_path")),
        inference=variables.get("inference_attribute", "0"),
        label=variables.get("ground_truth_attribute", "0"),
        start=_time(variables, "start_time"),
        end=_time(variables, "end_time"),
        metric_time=_time(variables, "metric_time") or _time(variables, "start_time"),
        publish=variables.get("publish_cloudwatch_metrics", "Disabled") == "Enabled",
        endpoint=variables.get("sagemaker_endpoint_name", ""),
        schedule=variables.get("sagemaker_monitoring_schedule_name", ""),
    )


def _needed(variables: Mapping[str, str], name: str) -> str:
    if not variables.get(name):
        raise AnalysisFailed(f"the environment variable {name} is missing")
    return variables[name]


def _format(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise AnalysisFailed(f"dataset_format is not a JSON object: {text[:200]}")
    return parsed


def _path(base: Path, text: str) -> Path:
    """A path of the contract as this process sees it: without a mount namespace /opt/ml lies elsewhere."""
    path = Path(text)
    return base / path.relative_to(CONTRACT) if path.is_relative_to(CONTRACT) else path


def _optional_path(base: Path, variables: Mapping[str, str], name: str) -> Path | None:
    return _path(base, variables[name]) if variables.get(name) else None


def _time(variables: Mapping[str, str], name: str) -> datetime | None:
    if name not in variables:
        return None
    try:
        return datetime.fromisoformat(variables[name])
    except ValueError:
        raise AnalysisFailed(f"{name} is no time: {variables[name]!r}") from None
