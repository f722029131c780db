"""What the source lists at a moment, and what it has listed: the event clock, the page and the ledger together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from local.source.arrivals import Arrival, Arrivals
from local.source.clock import MICROSECONDS, EventClock
from local.source.ledger import Ledger, Position
from local.source.regime import Regime, Timeline


@dataclass(frozen=True)
class Page:
    """One answer's transactions, oldest first; `end` is how many had arrived."""

    arrivals: tuple[Arrival, ...]
    end: int


@dataclass(frozen=True)
class Status:
    """Counts since the start. waiting_for: what keeps event time from running at its speed, or None."""

    event_time: datetime
    speed: float
    until: datetime | None
    waiting_for: str | None
    regime: Regime
    arrived: int
    listed: int
    unlisted: int
    answered: int


class Listing:
    """Thread-safe. At a speed above 1 the clock waits so that no more than half a page arrives between two answers
    that were sent whole; after a restart it waits, at any speed, until one was: what an interrupted answer listed is
    then listed again before it can leave the page."""

    def __init__(
        self,
        arrivals: Arrivals,
        ledger: Ledger,
        timeline: Timeline,
        *,
        page_size: int,
        speed: float,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._arrivals, self._ledger, self._timeline, self._now = arrivals, ledger, timeline, now
        self._page_size, self._half = page_size, page_size // 2
        self._lock = threading.Lock()
        known = ledger.position()
        at = known or Position(arrivals.start)
        self._clock = EventClock(at.moment, speed, monotonic)
        self._restarted = known is not None
        self._answered, self._arrived, self._listed = at.answered, at.arrived, ledger.count()
        self._answered_end = at.arrived
        self._until: int | None = None
        self._waiting_for: str | None = None
        self._page = self._restore(at)
        self._upcoming: deque[Arrival] = deque()
        self._next_slot = 0
        self._look_ahead_from(at.moment)

    def page(self) -> Page:
        """The newest arrivals as of now; where it was made is remembered before anything of it is sent."""
        with self._lock:
            moment = self._advance()
            page = Page(tuple(self._page), self._arrived)
            for arrival in page.arrivals:
                self._arrivals.render(arrival)
            self._ledger.move(self._position(moment))
            return page

    def sent_whole(self, page: Page) -> None:
        """Enters the page into the ledger."""
        with self._lock:
            fresh = [arrival for arrival in page.arrivals if not arrival.listed]
            for arrival in fresh:
                arrival.listed = True
            self._listed += len(fresh)
            self._answered += 1
            self._answered_end = max(self._answered_end, page.end)
            self._restarted = False
            self._ledger.enter(fresh, self._position(self._advance()))

    def change_speed(self, speed: float) -> None:
        """Runs at `speed` from now on; event time does not jump."""
        with self._lock:
            self._advance()
            self._clock.change_speed(speed, self._limit)

    def hold_at(self, moment: int | None) -> None:
        """Event time stops at `moment` (microseconds; where it is, when that has passed); None lets it run again."""
        with self._lock:
            self._advance()
            self._until = moment

    def change_regime(self, regime: Regime) -> None:
        """From now on `regime` holds."""
        with self._lock:
            moment = self._advance()
            self._ledger.change_regime(moment, regime)
            self._timeline.change(moment, regime)
            self._look_ahead_from(moment)

    def status(self) -> Status:
        with self._lock:
            moment = self._advance()
            return Status(
                event_time=_datetime(moment),
                speed=self._clock.speed,
                until=None if self._until is None else _datetime(self._until),
                waiting_for=self._waiting_for,
                regime=self._timeline.at(moment),
                arrived=self._arrived,
                listed=self._listed,
                unlisted=self._unlisted(),
                answered=self._answered,
            )

    def close(self) -> None:
        """Remembers where event time is, and closes the ledger."""
        with self._lock:
            self._ledger.move(self._position(self._advance()))
            self._ledger.close()

    def _advance(self) -> int:
        moment = self._clock.advance(self._limit)
        while self._upcoming and self._upcoming[0].moment < moment:
            arrival = self._upcoming.popleft()
            arrival.number = self._arrived
            self._arrived += 1
            self._page.append(arrival)
        return moment

    def _limit(self, target: int) -> int:
        """How far event time may go towards `target`; says in `_waiting_for` what keeps it back."""
        limits = {"wall_clock": int(self._now() * MICROSECONDS)}
        if self._until is not None:
            limits["until"] = self._until
        if self._restarted or self._clock.speed > 1:
            limits["answer"] = self._limit_before_answer(target)
        reason, limit = min(limits.items(), key=lambda item: item[1])
        self._waiting_for = reason if limit < target else None
        self._look_ahead_to(min(limit, target))
        return limit

    def _limit_before_answer(self, target: int) -> int:
        """The moment of the first arrival that has to wait for an answer; `target` when none has to."""
        allowed = 0 if self._restarted else max(self._answered_end + self._half - self._arrived, 0)
        self._look_ahead_to(target, at_most=allowed + 1)
        return self._upcoming[allowed].moment if len(self._upcoming) > allowed else target

    def _look_ahead_to(self, moment: int, at_most: int | None = None) -> None:
        while self._arrivals.starts(self._next_slot) < moment and (at_most is None or len(self._upcoming) < at_most):
            self._upcoming.extend(self._arrivals.slot(self._next_slot))
            self._next_slot += 1

    def _look_ahead_from(self, moment: int) -> None:
        slot = self._arrivals.slot_of(moment)
        self._upcoming = deque(arrival for arrival in self._arrivals.slot(slot) if arrival.moment >= moment)
        self._next_slot = slot + 1

    def _restore(self, at: Position) -> deque[Arrival]:
        page = self._arrivals.newest_before(at.moment, self._page_size) if at.arrived else []
        first = at.arrived - len(page)
        listed = self._ledger.numbers_from(first)
        for number, arrival in enumerate(page, first):
            arrival.number, arrival.listed = number, number in listed
        return deque(page, maxlen=self._page_size)

    def _position(self, moment: int) -> Position:
        return Position(moment, self._arrived, self._unlisted(), self._answered)

    def _unlisted(self) -> int:
        """Arrivals that left the page before an answer with them was sent whole."""
        on_page = sum(1 for arrival in self._page if not arrival.listed)
        return self._arrived - self._listed - on_page


def _datetime(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / MICROSECONDS, UTC)
