"""How many transactions arrive and what they pay on average, as the calibration says: seeded, one slot at a time."""

from __future__ import annotations

import numpy as np

from local.source.calibration import SCORES, Calibration, Marginal
from local.source.recordings import Floats, Ints

SLOT_MINUTES = 5
"""Recordings have a snapshot every five minutes: within a slot of that length, levels stay."""

_SLOTS = 1440 // SLOT_MINUTES


class SimulatedLevels:
    """The expected arrivals and the usual average fee of each slot since `start` (seconds since the epoch).

    Both are sums of processes that forget at different paces, shaped to the recorded distribution and the hour of day.
    """

    def __init__(self, calibration: Calibration, start: int, seed: int) -> None:
        self._calibration, self._start = calibration, start
        self._random = np.random.default_rng([seed, start])
        self._state = self._correlate(self._random.standard_normal((len(calibration.memory.minutes), 2)))
        self._days: list[Floats] = []

    def slot(self, index: int) -> tuple[float, float]:
        """Arrivals a minute and satoshi a transaction in slot `index`."""
        day, slot = divmod(index, _SLOTS)
        while len(self._days) <= day:
            self._days.append(self._next_day(len(self._days)))
        arrivals, fee = self._days[day][slot]
        return float(arrivals), float(fee)

    def _next_day(self, day: int) -> Floats:
        minutes = self._start // 60 + (day * _SLOTS + np.arange(_SLOTS)) * SLOT_MINUTES
        hours = minutes // 60 % 24
        scores = self._next_scores()
        arrivals = _shape(scores[:, 1], self._calibration.arrivals, hours)
        fees = _shape(scores[:, 0], self._calibration.fees, hours)
        return np.column_stack([arrivals, fees])

    def _next_scores(self) -> Floats:
        """Scores of fees and arrivals for each slot of a day; shape (slots, 2)."""
        memory = self._calibration.memory
        keep = np.exp(-SLOT_MINUTES / np.array(memory.minutes))[:, None]
        weights = np.sqrt(np.column_stack([memory.fee_weights, memory.arrival_weights]))
        news = self._correlate(self._random.standard_normal((_SLOTS, len(memory.minutes), 2))) * np.sqrt(1 - keep**2)
        scores = np.empty((_SLOTS, 2))
        for slot in range(_SLOTS):
            self._state = keep * self._state + news[slot]
            scores[slot] = (weights * self._state).sum(axis=0)
        return scores

    def _correlate(self, noise: Floats) -> Floats:
        """Gives the arrivals' noise (last axis, second) its correlation with the fees' (first)."""
        with_fees = np.array(self._calibration.memory.correlations)
        arrivals = with_fees * noise[..., 0] + np.sqrt(1 - with_fees**2) * noise[..., 1]
        return np.stack([noise[..., 0], arrivals], axis=-1)


def _shape(scores: Floats, marginal: Marginal, hours: Ints) -> Floats:
    logarithms = np.interp(scores, SCORES, marginal.quantiles) + np.array(marginal.hourly)[hours]
    return np.asarray(np.exp(logarithms), dtype=np.float64)
