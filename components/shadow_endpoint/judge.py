"""Whether a shadow forecast worse than the champion, from what both answered to the same requests; pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from components.baselines import Forecast
from components.history import History
from components.paired import Comparison, compare
from loopcast.forecast import Answer, Request
from loopcast.metrics import mean_weighted_quantile_loss
from loopcast.minute import WINDOW

WORSE = 0.25
"""The p-value of the champion over the challenger with which the challenger is stopped: two windows of two lost."""


def answers(lines: Iterable[str], horizon: int, quantiles: Sequence[float]) -> dict[datetime, Forecast]:
    """The captured forecasts by the first minute that they are of; what is no forecast of this shape is left out."""
    found: dict[datetime, Forecast] = {}
    for line in lines:
        data = json.loads(line)["captureData"]
        if "endpointInput" in data and "endpointOutput" in data:
            _add(found, data["endpointInput"]["data"], data["endpointOutput"]["data"], quantiles)
    return {
        origin: forecast
        for origin, forecast in found.items()
        if all(values.shape == (horizon,) and np.isfinite(values).all() for values in forecast.values())
    }


def _add(found: dict[datetime, Forecast], asked: str, answered: str, quantiles: Sequence[float]) -> None:
    try:
        request, answer = Request.model_validate_json(asked), Answer.model_validate_json(answered)
    except ValueError:
        return  # somebody's broken request, or one in another form
    for instance, prediction in zip(request.instances, answer.predictions, strict=False):
        levels = {float(level): np.array(values) for level, values in (prediction.quantiles or {}).items()}
        if set(quantiles) <= set(levels):
            origin = instance.start.replace(tzinfo=UTC) + len(instance.target) * WINDOW
            found[origin] = {level: levels[level] for level in quantiles}


def closed(origins: Iterable[datetime], history: History, horizon: int) -> list[datetime]:
    """Those of the forecasts' first minutes, rising, whose whole horizon has come."""
    return sorted(o for o in origins if history.start <= o and o + horizon * WINDOW <= history.end)


def judge(
    shadow: Mapping[datetime, Forecast], champion: Mapping[datetime, Forecast], history: History, horizon: int
) -> Comparison:
    """The champion's case against the shadow: `difference` is how much higher the shadow's loss is, and the p-value
    that of a champion that is no better."""
    common = closed(shadow.keys() & champion.keys(), history, horizon)
    indices = [(origin - history.start) // WINDOW for origin in common]
    actual = [history.target[index : index + horizon] for index in indices]
    losses = [
        [mean_weighted_quantile_loss(window, side[origin]) for window, origin in zip(actual, common, strict=True)]
        for side in (champion, shadow)
    ]
    return compare(losses[0], losses[1], indices, horizon)


def objection(found: Comparison) -> str:
    """Why the shadow is not to be deployed; '' when nothing speaks against it."""
    if found.difference is None:
        return "No window of it closed that both had forecast, so that nothing can be said: let it run longer."
    if found.difference > 0 and found.p_value <= WORSE:
        return (
            f"Its loss is {found.difference:.4g} higher than the champion's in the mean of {found.windows} windows "
            f"(p = {found.p_value:.2g})."
        )
    return ""
