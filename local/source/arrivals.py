"""The arrivals, in order: a pure function of the generator, the start, the seed and the regimes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from local.source.bodies import Filling
from local.source.generators import MICROSECONDS, SLOT_SECONDS, Generator
from local.source.regime import Regime, Timeline

_SLOT = SLOT_SECONDS * MICROSECONDS


@dataclass(slots=True)
class Arrival:
    """One transaction. moment: microseconds since the epoch; fee: satoshi; size: bytes; weight: weight units.

    `number` counts arrivals from 0 and `listed` says whether an answer with it was sent whole; `text` is its JSON.
    """

    moment: int
    hash: str
    fee: int
    size: int
    weight: int
    body: int
    number: int = -1
    listed: bool = False
    text: bytes = field(default=b"", repr=False)

    @property
    def time(self) -> int:
        """Seconds since the epoch."""
        return self.moment // MICROSECONDS


class Arrivals:
    """Everything that arrives from `start` (seconds since the epoch) on."""

    def __init__(self, generator: Generator, start: int, seed: int, timeline: Timeline) -> None:
        self.start = start * MICROSECONDS
        self._generator, self._seed, self._timeline = generator, seed, timeline

    def slot_of(self, moment: int) -> int:
        """The number of the slot in which `moment` lies."""
        return (moment - self.start) // _SLOT

    def starts(self, slot: int) -> int:
        """The moment at which the slot begins."""
        return self.start + slot * _SLOT

    def slot(self, slot: int) -> list[Arrival]:
        """What arrives in the slot, oldest first; numbers are not given yet."""
        segments = self._timeline.segments(self.starts(slot), self.starts(slot + 1))
        return [arrival for part, segment in enumerate(segments) for arrival in self._segment(slot, part, *segment)]

    def newest_before(self, moment: int, count: int) -> list[Arrival]:
        """The newest `count` (or as many as there are) that arrived before `moment`, oldest first."""
        found: list[Arrival] = []
        slot = self.slot_of(moment)
        while slot >= 0 and len(found) < count:
            found = [arrival for arrival in self.slot(slot) if arrival.moment < moment] + found
            slot -= 1
        return found[-count:]

    def render(self, arrival: Arrival) -> bytes:
        """The arrival's JSON, made once."""
        if not arrival.text:
            filling = Filling(arrival.hash, arrival.time, arrival.fee)
            arrival.text = self._generator.bodies.render(arrival.body, filling)
        return arrival.text

    def _segment(self, slot: int, part: int, begin: int, end: int, regime: Regime) -> Iterator[Arrival]:
        random = np.random.default_rng([self._seed, self.start // MICROSECONDS, slot, part])
        draw = self._generator.draw(slot, regime, random)
        moments = draw.moments + self.starts(slot)
        inside = np.flatnonzero((moments >= begin) & (moments < end))
        bodies = draw.bodies[inside]
        sizes, weights = self._generator.bodies.sizes[bodies], self._generator.bodies.weights[bodies]
        columns = (moments[inside], draw.fees[inside], sizes, weights, bodies, inside)
        prefix = f"{self._seed}:{self.start}:{slot}:{part}:"
        for moment, fee, size, weight, body, place in zip(*(column.tolist() for column in columns), strict=True):
            digest = hashlib.sha256(f"{prefix}{place}".encode()).hexdigest()
            yield Arrival(moment, digest, fee, size, weight, body)
