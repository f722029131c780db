"""Judges every model and every baseline on the same held-out windows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.baselines import Forecast, baselines
from components.evaluate.scores import Score, finite, score, windows_won
from components.history import History
from components.run import Refused
from components.windows import Split
from loopcast.feed import Feed
from loopcast.forecast import Prediction
from loopcast.minute import iso_minute

_log = logging.getLogger(__name__)
MODELS = ("candidate", "empirical", "production")


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


def predictions_of(texts: Mapping[str, str], split: Split, quantiles: Sequence[float]) -> dict[str, list[Forecast]]:
    """The forecasts by role. A model in production whose answers don't fit (another horizon, say) is left out."""
    found = {}
    for role, text in texts.items():
        try:
            found[role] = parse_predictions(text, len(split.origins), split.horizon, quantiles)
        except Refused as error:
            if role != "production":
                raise
            _log.warning("the model in production can't be judged: %s", error)
    return found


def evaluate(feed: Feed, history: History, split: Split, models: Mapping[str, Sequence[Forecast]]) -> dict[str, Any]:
    """The evaluation as it is stored: scores of all, and the models' forecasts beside what came."""
    actual = split.actuals(history)
    compared = {**models, **baselines(history, split.origins, split.horizon, feed.forecast.quantiles)}
    scores = {name: score(actual, forecasts) for name, forecasts in compared.items()}
    best = best_baseline(scores)
    won = windows_won(scores["candidate"].window_losses, scores[best].window_losses)
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
        "best_baseline": best,
        "windows_won_against_it": won,
        "scores": {name: item.to_json() for name, item in scores.items()},
        "windows": [
            {"start": iso_minute(history.moment(origin)), "actual": window.tolist()}
            for origin, window in zip(split.origins, actual, strict=True)
        ],
        "forecasts": {name: [_to_json(forecast) for forecast in forecasts] for name, forecasts in models.items()},
    }
    checked: dict[str, Any] = finite(document)
    return checked


def best_baseline(scores: Mapping[str, Score]) -> str:
    """The baseline with the least loss: persistence, the empirical quantiles, and the packaged empirical model."""
    losses = {name: item.loss for name, item in scores.items() if name not in {"candidate", "production"}}
    return min(losses, key=lambda name: losses[name])


def _to_json(forecast: Forecast) -> dict[str, list[float]]:
    return {f"{quantile:g}": values.tolist() for quantile, values in forecast.items()}
