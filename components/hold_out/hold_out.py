"""Holds out the newest windows of a history: rolling origins that no training job sees; pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from components.baselines import HOURS, empirical, reaches
from components.history import History
from components.run import Refused
from components.windows import Split, pooled_loss

FEWEST_WINDOWS = 8
MOST_WINDOWS = 56
"""On eight windows chance decides; on these it seldom does (docs/closed-loop.md)."""
SMALLEST_STRIDE = 5
TRAINING_HORIZONS = 4


def hold_out(history: History, horizon: int, windows: int, stride: int) -> Split:
    """`windows` windows of `horizon` minutes, `stride` minutes apart, the last at the history's end.

    A stride of 0 is the widest up to the horizon that leaves two thirds of the history to training, and at least 5.
    0 windows are as many as leave that a horizon (or the given stride) apart, from 8 to 56.
    Windows in which no minute came are left out. Raises `Refused` when the history is too short or too sparse.
    """
    windows = windows or _most_windows(len(history), horizon, stride or horizon)
    if windows < FEWEST_WINDOWS:
        raise Refused(f"A model is judged on at least {FEWEST_WINDOWS} windows, not {windows}.")
    stride = stride or _widest_stride(len(history), horizon, windows)
    first = len(history) - horizon - (windows - 1) * stride
    training = TRAINING_HORIZONS * horizon
    known = history.until(max(first, 0)).known
    if known < training:
        needed = training + horizon + (windows - 1) * stride
        missing = max(needed - len(history), training - known)
        raise Refused(
            f"The history is too short: {windows} windows of {horizon} minutes, {stride} minutes apart, and {training} "
            f"minutes to train on need {needed} minutes, and of {len(history)} there are {known} to train on: "
            f"wait {missing} minutes more."
        )
    origins = [origin for origin in range(first, len(history), stride) if _came(history, origin, horizon)][:windows]
    if len(origins) < FEWEST_WINDOWS:
        raise Refused(f"Only {len(origins)} of the {windows} newest windows have a minute that came: wait for more.")
    return Split(origins, horizon, stride)


def shortest_history(horizon: int) -> int:
    """The fewest minutes, all of them there, of which enough are left to train on."""
    return TRAINING_HORIZONS * horizon + horizon + (FEWEST_WINDOWS - 1) * SMALLEST_STRIDE


def _most_windows(length: int, horizon: int, stride: int) -> int:
    return min(MOST_WINDOWS, max(FEWEST_WINDOWS, (length // 3 - horizon) // stride + 1))


def _widest_stride(length: int, horizon: int, windows: int) -> int:
    return min(horizon, max(SMALLEST_STRIDE, (length // 3 - horizon) // (windows - 1)))


def _came(history: History, origin: int, horizon: int) -> bool:
    window = history.target[origin : origin + horizon]
    return len(window) == horizon and not bool(np.isnan(window).all())


def best_hours(history: History, split: Split, quantiles: Sequence[float]) -> int:
    """Of the empirical baselines that reach back far enough everywhere, the hours of the one with the least loss.

    It is 1 when none reaches, so that there is always one to package.
    """
    pasts, actual = split.pasts(history), split.actuals(history)
    reaching = [hours for hours in HOURS if all(reaches(past, hours) for past in pasts)]
    losses = {
        hours: pooled_loss(actual, [empirical(past, hours, split.horizon, quantiles) for past in pasts])
        for hours in reaching
    }
    return min(losses, key=lambda hours: losses[hours], default=HOURS[0])


def training_channel(history: History, split: Split) -> str:
    """The train channel: the series up to the first held-out minute."""
    return _lines([history.until(split.first)])


def evaluation_channel(history: History, split: Split) -> str:
    """The test channel: for each window the series up to the window's end."""
    return _lines([history.until(origin + split.horizon) for origin in split.origins])


def transform_input(history: History, split: Split) -> str:
    """The batch transform's input: for each window the day before it."""
    return _lines([history.until(origin).context() for origin in split.origins])


def _lines(histories: Sequence[History]) -> str:
    return "".join(json.dumps(history.to_instance()) + "\n" for history in histories)
