"""When to poll again: soon enough that answers overlap, and no sooner."""

from __future__ import annotations

import random
from dataclasses import dataclass

from loopcast.clock import Clock
from loopcast.feed import Source

FRESH_SHARE = 0.2
"""The share of a full answer that shall be new at the rate of the latest burst: what is left is for a worse one."""
_FORGETTING = 0.9
"""What is left, an answer later, of the rate of a burst: arrivals are far from even (docs/simulator.md)."""
_FASTEST_RISE = 1.5
LONGEST_RETRY_AFTER = 600.0


@dataclass
class Pace:
    """Intervals between polls, in seconds of wall time; an answer has up to `page` items.

    `rate` is what items may come at, a second: that of the latest burst, slowly forgotten.
    """

    shortest: float
    longest: float
    page: int
    rate: float = 0.0

    def after_answer(self, elapsed: float, fresh: int, gap: bool) -> float:
        """The next interval, when in the last `elapsed` seconds `fresh` new items came."""
        self.rate = max(fresh / elapsed if elapsed else 0.0, self.rate * _FORGETTING)
        if gap:
            return self.shortest
        wanted = self.page * FRESH_SHARE / self.rate if self.rate else self.longest
        return self._bounded(min(wanted, elapsed * _FASTEST_RISE))

    def after_fault(self, faults: int, retry_after: float | None) -> float:
        """The wait after `faults` failed polls in a row: what the source asks for, else doubling, with jitter."""
        if retry_after is not None:
            return max(self.shortest, min(retry_after, LONGEST_RETRY_AFTER))
        wait = self._bounded(self.shortest * 2 ** min(faults - 1, 20))
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 (jitter needs no secret)

    def _bounded(self, seconds: float) -> float:
        return max(self.shortest, min(seconds, self.longest))


def pace_of(source: Source, clock: Clock) -> Pace:
    return Pace(clock.wall(source.min_poll_interval), clock.wall(source.max_poll_interval), source.page_size)
