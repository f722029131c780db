"""Constraints of a regression: suggested from a baseline's metrics, and checked; pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from local.sagemaker.analyzer.settings import AnalysisFailed

GREATER, LESS = "GreaterThanThreshold", "LessThanThreshold"
Metrics = Mapping[str, Mapping[str, float]]


def suggest(metrics: Metrics) -> dict[str, Any]:
    """The file constraints.json: an error must not be above what it is here, and r2 not below."""
    return {
        "version": 0.0,
        "regression_constraints": {
            name: {"threshold": metric["value"], "comparison_operator": LESS if name == "r2" else GREATER}
            for name, metric in metrics.items()
            if math.isfinite(metric["value"])
        },
    }


def violations(metrics: Metrics, constraints: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is violated, in the words of the built-in monitor; a metric without a value (NaN) violates nothing.
    Raises `AnalysisFailed` when `constraints` are none of a regression."""
    stated = constraints.get("regression_constraints")
    if not isinstance(stated, Mapping):
        raise AnalysisFailed("the constraints have no regression_constraints")
    return [
        _violation(name, metrics[name], constraint)
        for name, constraint in stated.items()
        if name in metrics and _is_violated(name, metrics[name]["value"], constraint)
    ]


def _is_violated(name: str, value: float, constraint: Mapping[str, Any]) -> bool:
    try:
        threshold, operator = float(constraint["threshold"]), constraint["comparison_operator"]
    except (KeyError, TypeError, ValueError) as error:
        raise AnalysisFailed(f"the constraint of {name} has no threshold and comparison_operator: {error!r}") from error
    if operator not in (GREATER, LESS):
        raise AnalysisFailed(f"the comparison_operator of {name} is {operator!r}: it must be {GREATER} or {LESS}")
    return value > threshold if operator == GREATER else value < threshold


def _violation(name: str, metric: Mapping[str, float], constraint: Mapping[str, Any]) -> dict[str, str]:
    operator, deviation = constraint["comparison_operator"], metric["standard_deviation"]
    spread = f" +/- {deviation}" if math.isfinite(deviation) else ""
    return {
        "constraint_check_type": operator,
        "description": f"Metric {name} with {metric['value']}{spread} was {operator} '{constraint['threshold']}'",
        "metric_name": name,
    }
