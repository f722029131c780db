"""From quantiles to a request's answer: mean, quantiles and samples of a forecast that is given at any level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecasters.series import Array
from loopcast.forecast import Configuration, Prediction

LEVELS = (np.arange(200) + 0.5) / 200
"""The mean is that of the quantiles at these levels, and samples are drawn from them."""

Quantiles = Callable[[Array], Array]
"""From levels (k,), rising, to a forecast's quantiles (k, horizon), which rise with them."""


def answer(quantiles: Quantiles, configuration: Configuration, seed: int) -> Prediction:
    """What `configuration` asks for. The steps of a sample are drawn independently."""
    wanted = configuration.output_types
    drawn_from = quantiles(LEVELS) if {"mean", "samples"} & set(wanted) else np.empty((0, 0))
    return Prediction(
        mean=drawn_from.mean(axis=0).tolist() if "mean" in wanted else None,
        quantiles=_asked(quantiles, configuration.quantiles) if "quantiles" in wanted else None,
        samples=_samples(drawn_from, configuration.num_samples, seed) if "samples" in wanted else None,
    )


def _asked(quantiles: Quantiles, levels: list[str]) -> dict[str, list[float]]:
    rising = sorted(set(levels), key=float)
    values = dict(zip(rising, quantiles(np.array([float(level) for level in rising])).tolist(), strict=True))
    return {level: values[level] for level in levels}


def _samples(drawn_from: Array, number: int, seed: int) -> list[list[float]]:
    """(number, horizon)."""
    count, horizon = drawn_from.shape
    places = np.random.default_rng(seed).integers(count, size=(number, horizon))
    drawn: list[list[float]] = np.take_along_axis(drawn_from, places, axis=0).tolist()
    return drawn
