"""What arrives in a slot of five minutes: three generators, one for each kind of input, all seeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from local.source.bodies import Bodies, RecordedBodies, SimulatedBodies
from local.source.calibration import BODY_LEVELS, TAIL_FROM, Calibration, FeeRates
from local.source.levels import SLOT_MINUTES, SimulatedLevels
from local.source.recordings import BLOCK_MINUTES, Answer, Floats, Ints, Levels
from local.source.regime import Regime

Random = np.random.Generator
MICROSECONDS = 1_000_000
SLOT_SECONDS = SLOT_MINUTES * 60
_DAY = 86400
_USUAL_SLOT = 1400
"""Arrivals in a usual slot: fees that are rarer than one in so many are not part of a usual average."""


@dataclass(frozen=True)
class Draw:
    """The arrivals of one slot, oldest first: microseconds since the slot's start (rising), the number of the body,
    and the fee in satoshi; arrays of shape (n,)."""

    moments: Ints
    bodies: Ints
    fees: Ints


class Generator(Protocol):
    """Where transactions come from; the same slot, regime and random numbers give the same arrivals."""

    bodies: Bodies

    def draw(self, slot: int, regime: Regime, random: Random) -> Draw:
        """What arrives in slot `slot`."""
        ...


class Simulated:
    """Arrivals and fees as the calibration says."""

    def __init__(self, calibration: Calibration, start: int, seed: int) -> None:
        self._levels = SimulatedLevels(calibration, start, seed)
        self._burst_shape = calibration.burst_shape
        self._mix = Mix(calibration, seed)
        self.bodies: Bodies = self._mix.bodies

    def draw(self, slot: int, regime: Regime, random: Random) -> Draw:
        arrivals, fee = self._levels.slot(slot)
        counts = random.poisson(arrivals * regime.volume, size=SLOT_MINUTES)
        moments = place(counts, self._burst_shape, random)
        bodies, units = self._mix.draw(len(moments), random)
        fees = fee * regime.fees * units
        return Draw(moments, bodies, np.maximum(np.rint(fees), 1).astype(np.int64))


class RecordedLevels:
    """Counts and average fees of a recording's snapshots, one a slot, from the start's time of day on; bodies, and how
    fees differ round the average, as the calibration says. After the last snapshot the first follows."""

    def __init__(self, levels: Levels, calibration: Calibration, start: int, seed: int) -> None:
        self._levels, self._usual = levels, levels.usual_fees()
        self._first = int(np.searchsorted(levels.times, levels.times[0] + (start - levels.times[0]) % _DAY))
        self._burst_shape = calibration.burst_shape
        self._mix = Mix(calibration, seed)
        self.bodies: Bodies = self._mix.bodies

    def snapshot(self, slot: int) -> int:
        """Which snapshot the slot follows."""
        return (self._first + slot) % len(self._levels.times)

    def recorded_time(self, slot: int) -> int:
        """When the snapshot that the slot follows was taken, in seconds since the epoch."""
        return int(self._levels.times[self.snapshot(slot)])

    def draw(self, slot: int, regime: Regime, random: Random) -> Draw:
        snapshot = self.snapshot(slot)
        a_minute = self._levels.counts[snapshot] / BLOCK_MINUTES * regime.volume
        counts = np.diff(np.rint(a_minute * np.arange(SLOT_MINUTES + 1)).astype(np.int64))
        moments = place(counts, self._burst_shape, random)
        bodies, units = self._mix.draw(len(moments), random, whales=False)
        fees = self._fees(snapshot, units, regime.fees, random)
        return Draw(moments, bodies, fees)

    def _fees(self, snapshot: int, units: Floats, factor: float, random: Random) -> Ints:
        """Fees whose average is the recorded one; what a single huge fee had added to it, one transaction pays."""
        if not len(units):
            return np.zeros(0, dtype=np.int64)
        total = round(float(self._levels.fees[snapshot]) * len(units) * factor)
        usual = float(self._usual[snapshot]) * len(units) * factor
        fees = np.maximum(np.rint(units * (min(usual, total) / units.sum())), 1).astype(np.int64)
        excess = self._levels.fees[snapshot] > self._usual[snapshot]
        payer = int(random.integers(len(units))) if excess else int(fees.argmax())
        fees[payer] = max(fees[payer] + total - int(fees.sum()), 1)
        return np.asarray(fees)


class RecordedTransactions:
    """The bodies and fees of a saved answer, in turn at random; they arrive as the calibration says."""

    def __init__(self, answer: Answer, calibration: Calibration, start: int, seed: int) -> None:
        self._levels = SimulatedLevels(calibration, start, seed)
        self._burst_shape = calibration.burst_shape
        self._recorded = RecordedBodies(answer)
        self.bodies: Bodies = self._recorded

    def draw(self, slot: int, regime: Regime, random: Random) -> Draw:
        arrivals, _ = self._levels.slot(slot)
        counts = random.poisson(arrivals * regime.volume, size=SLOT_MINUTES)
        moments = place(counts, self._burst_shape, random)
        bodies = random.integers(len(self._recorded.fees), size=len(moments))
        fees = np.maximum(np.rint(self._recorded.fees[bodies] * regime.fees), 1)
        return Draw(moments, bodies, fees.astype(np.int64))


class Mix:
    """How transactions of one moment differ: their shapes, and their fees round the usual average of 1."""

    def __init__(self, calibration: Calibration, seed: int) -> None:
        self.bodies = SimulatedBodies(calibration.shapes, calibration.amounts, seed)
        shares = np.array([shape.share for shape in calibration.shapes])
        self._shares = shares / shares.sum()
        self._rates = calibration.fee_rates
        virtual_sizes = -(-self.bodies.weights // 4)
        self._units = virtual_sizes / (self._shares @ virtual_sizes) / _usual_mean(self._rates)

    def draw(self, count: int, random: Random, whales: bool = True) -> tuple[Ints, Floats]:
        """Bodies and fees of `count` transactions; without whales no fee is rarer than a usual slot has."""
        bodies = random.choice(len(self._shares), size=count, p=self._shares)
        probabilities = random.random(count) * (1.0 if whales else 1 - 1 / _USUAL_SLOT)
        return bodies, self._units[bodies] * fee_rate(self._rates, probabilities)


def place(counts: Ints, burst_shape: float, random: Random) -> Ints:
    """Moments, in microseconds since the slot's start and strictly rising, of `counts` arrivals in each minute."""
    weights = random.gamma(burst_shape, size=(len(counts), 60)) + 1e-9
    seconds = random.multinomial(counts, weights / weights.sum(axis=1, keepdims=True)).ravel()
    total = int(seconds.sum())
    ranks = np.arange(total) - np.repeat(np.cumsum(seconds) - seconds, seconds)
    within = (ranks + 0.9 * random.random(total)) / np.repeat(seconds, seconds)
    return np.asarray((np.repeat(np.arange(len(seconds)), seconds) + within) * MICROSECONDS).astype(np.int64)


def fee_rate(rates: FeeRates, probabilities: Floats) -> Floats:
    """Fee rates over the median at `probabilities` (0 to below 1)."""
    body = np.interp(probabilities, BODY_LEVELS, rates.quantiles)
    beyond = np.maximum((1 - probabilities) / (1 - TAIL_FROM), 1e-15)
    tail = np.minimum(rates.quantiles[-1] * beyond ** (-1 / rates.tail_index), rates.largest)
    return np.where(probabilities > TAIL_FROM, tail, body)


def _usual_mean(rates: FeeRates) -> float:
    steps = 100_000
    probabilities = (np.arange(steps) + 0.5) / steps * (1 - 1 / _USUAL_SLOT)
    return float(fee_rate(rates, probabilities).mean())
