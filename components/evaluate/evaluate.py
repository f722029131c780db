"""Judges every model and every baseline on the same held-out windows."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.algorithms import CANDIDATES, CHAMPION_STAGES, EMPIRICAL
from components.baselines import Forecast, baselines
from components.evaluate.scores import Score, finite, score, windows_won
from components.history import History
from components.paired import compare
from components.run import Refused
from components.windows import Split
from loopcast.feed import Feed
from loopcast.forecast import Prediction
from loopcast.minute import iso_minute

_log = logging.getLogger(__name__)


def parse_predictions(text: str, windows: int, horizon: int, quantiles: Sequence[float]) -> list[Forecast]:
    """The forecasts in a batch transform's output, a prediction a line. Raises `Refused` when one is unsound."""
    lines = text.splitlines()
    if len(lines) != windows:
        raise Refused(f"The batch transform answered with {len(lines)} predictions for {windows} windows.")
    return [_forecast(line, horizon, quantiles) for line in lines]


def _forecast(line: str, horizon: int, quantiles: Sequence[float]) -> Forecast:
    try:
        answered = Prediction.model_validate_json(line).quantiles or {}
    except ValidationError as error:
        raise Refused(f"The batch transform answered with what is no prediction: {line[:100]}") from error
    by_level = {float(level): np.array(values) for level, values in answered.items()}
    for quantile in quantiles:
        values = by_level.get(quantile)
        if values is None or values.shape != (horizon,) or not np.isfinite(values).all():
            raise Refused(f"A prediction lacks {horizon} finite numbers at the quantile {quantile:g}.")
    return {quantile: by_level[quantile] for quantile in quantiles}


def predictions_of(
    texts: Mapping[str, str], split: Split, quantiles: Sequence[float]
) -> tuple[dict[str, list[Forecast]], dict[str, str]]:
    """The forecasts by role, and why those of others can't be used: a champion with another horizon, say."""
    found, failed = {}, {}
    for role, text in texts.items():
        try:
            found[role] = parse_predictions(text, len(split.origins), split.horizon, quantiles)
        except Refused as error:
            failed[role] = str(error)
            _log.warning("%s can't be judged: %s", role, error)
    return found, failed


def evaluate(feed: Feed, history: History, split: Split, models: Mapping[str, Sequence[Forecast]]) -> dict[str, Any]:
    """The evaluation as it is stored: scores of all, and the forecasts of `models` (by role) beside what came."""
    actual = split.actuals(history)
    compared = {**models, **baselines(history, split.origins, split.horizon, feed.forecast.quantiles)}
    scores = {name: score(actual, forecasts) for name, forecasts in compared.items()}
    document = {
        "feed": feed.name,
        "target": feed.forecast.target,
        "unit": feed.metrics[feed.forecast.target].unit,
        "horizon": split.horizon,
        "stride": split.stride,
        "quantiles": feed.forecast.quantiles,
        "history": {
            "start": iso_minute(history.start),
            "end": iso_minute(history.end),
            "minutes": len(history),
            "missing": len(history) - history.known,
            "training_minutes": split.first,
        },
        **ranking(scores, split),
        "scores": {name: item.to_json() for name, item in scores.items()},
        "windows": [
            {"start": iso_minute(history.moment(origin)), "actual": window.tolist()}
            for origin, window in zip(split.origins, actual, strict=True)
        ],
        "forecasts": {name: [_to_json(forecast) for forecast in forecasts] for name, forecasts in models.items()},
    }
    checked: dict[str, Any] = finite(document)
    return checked


def ranking(scores: Mapping[str, Score], split: Split) -> dict[str, Any]:
    """The best baseline, the best candidate and the champion, and how this run's models did against the champion.

    Baselines are persistence, the empirical quantiles, and the packaged empirical model.
    """
    champion = next((stage for stage in CHAMPION_STAGES if stage in scores), None)
    challengers = [name for name in scores if name in (*CANDIDATES, EMPIRICAL)] if champion else []
    baseline = _best(scores, set(scores) - {*CANDIDATES, *CHAMPION_STAGES})
    candidate = _best(scores, set(scores) & {*CANDIDATES})
    return {
        "best_baseline": baseline,
        "best_candidate": candidate,
        "windows_won": _windows_won(scores, candidate, baseline),
        "champion": champion,
        "against_champion": {
            name: compare(
                scores[name].window_losses, scores[str(champion)].window_losses, split.origins, split.horizon
            ).to_json()
            for name in challengers
        },
    }


def _best(scores: Mapping[str, Score], names: set[str]) -> str | None:
    """The one of `names` with the least loss."""
    return min(names, key=lambda name: (math.isnan(scores[name].loss), scores[name].loss, name), default=None)


def _windows_won(scores: Mapping[str, Score], candidate: str | None, baseline: str | None) -> int | None:
    if candidate is None or baseline is None:
        return None
    return windows_won(scores[candidate].window_losses, scores[baseline].window_losses)


def _to_json(forecast: Forecast) -> dict[str, list[float]]:
    return {f"{quantile:g}": values.tolist() for quantile, values in forecast.items()}
