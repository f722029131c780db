"""Checks a prediction as a user would see it; pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loopcast.forecast import Prediction


def faults(prediction: Prediction, horizon: int, quantiles: Sequence[float]) -> list[str]:
    """What is wrong with the prediction, a clause each: a quantile is missing, or not `horizon` finite numbers, or
    the quantiles cross."""
    answered = {float(level): values for level, values in (prediction.quantiles or {}).items()}
    missing = [f"{quantile:g}" for quantile in quantiles if quantile not in answered]
    if missing:
        return [f"it has no quantile {', '.join(missing)}"]
    short = [f"{quantile:g}" for quantile in quantiles if len(answered[quantile]) != horizon]
    if short:
        return [f"it has not {horizon} minutes at the quantile {', '.join(short)}"]
    values = np.array([answered[quantile] for quantile in quantiles])
    if not np.isfinite(values).all():
        return ["it has a number that is not finite"]
    return ["its quantiles cross"] if (np.diff(values, axis=0) < 0).any() else []
