"""The event clock: event time that runs at a speed, waits at a limit and never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable

MICROSECONDS = 1_000_000


class EventClock:
    """Event time in microseconds since the epoch. Time spent waiting at a limit is not caught up with later."""

    def __init__(self, moment: int, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._speed = speed
        self._moment = moment
        self._anchor, self._reading = moment, monotonic()

    @property
    def speed(self) -> float:
        """Seconds of event time in a second of wall time."""
        return self._speed

    def change_speed(self, speed: float, limit: Callable[[int], int]) -> None:
        """Runs at `speed` from here on."""
        self._anchor, self._reading = self.advance(limit), self._monotonic()
        self._speed = speed

    def advance(self, limit: Callable[[int], int]) -> int:
        """Event time now: where the clock would be, `target`, but not after `limit(target)`, and never before."""
        reading = self._monotonic()
        target = self._anchor + int((reading - self._reading) * self._speed * MICROSECONDS)
        bound = max(limit(target), self._moment)
        if target > bound:
            self._anchor, self._reading = bound, reading
        self._moment = min(target, bound)
        return self._moment
