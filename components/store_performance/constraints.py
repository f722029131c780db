"""A model's errors as the constraints that SageMaker Model Monitor checks a regression by; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.history import Array


def regression_errors(actual: Array, median: Array) -> dict[str, float | None]:
    """mae, mse, rmse and r2 of the median where a minute came; r2 is None when what came does not vary."""
    known = ~np.isnan(actual)
    came, error = actual[known], median[known] - actual[known]
    spread = float(((came - came.mean()) ** 2).sum())
    mse = float(np.mean(error**2))
    return {
        "mae": float(np.mean(np.abs(error))),
        "mse": mse,
        "rmse": mse**0.5,
        "r2": 1 - float((error**2).sum()) / spread if spread else None,
    }


def constraints(errors: Mapping[str, float | None]) -> dict[str, Any]:
    """The file constraints.json: an error must not be above the backtest's, and r2 not below."""
    return {
        "version": 0.0,
        "regression_constraints": {
            name: {
                "threshold": value,
                "comparison_operator": "LessThanThreshold" if name == "r2" else "GreaterThanThreshold",
            }
            for name, value in errors.items()
            if value is not None
        },
    }


def of_evaluation(evaluation: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The constraints of the model `role` in an evaluation."""
    actual = np.array([window["actual"] for window in evaluation["windows"]], dtype=float).ravel()
    median = np.array([forecast["0.5"] for forecast in evaluation["forecasts"][role]]).ravel()
    return constraints(regression_errors(actual, median))
