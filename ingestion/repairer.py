"""Recomputes the minutes that events came too late for, from the archive, and puts them out again in a new revision."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Counter, Gauge

from ingestion.aggregate import Values, aggregate
from ingestion.archive import Archive
from ingestion.dead_letters import DeadLetters
from ingestion.delivery import GaveUp, Pause, until_done
from ingestion.late import BadLate, LateEvent, parse_late
from ingestion.online import Stored, stored_minute
from ingestion.records import NewRecord, put_records
from ingestion.stream import Consumer, Record, add_lease_flag
from ingestion.waiting import wait_for_resources
from loopcast.feed import Feed
from loopcast.minute import Minute
from loopcast.service import Part, run

PATIENCE = 900.0
"""Seconds of wall time that a late event waits for the archive: Firehose keeps what it gathers for up to so long."""
FIRST_WINDOW_WAIT = 20.0
"""Seconds of wall time until a minute that isn't stored is taken never to have had a window."""
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 15.0
MOST_WAITING = 20_000

LATE = Counter("loopcast_repairer_late_events", "Late events read")
REPAIRED = Counter("loopcast_repairer_repaired_minutes", "Minutes put out again")
REJECTED = Counter("loopcast_repairer_rejected", "Late events that went to the dead-letter queue", ["reason"])
PENDING = Gauge("loopcast_repairer_pending_events", "Late events that wait for the archive")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A late event that waits for the archive since `since`; `before` is the place in the shard ahead of it."""

    event: LateEvent
    data: bytes
    since: float
    before: str | None


Group = tuple[str, datetime]


class Repairer:
    """Repairs for one shard of late events. What the archive lacks as yet waits, and holds up only the position."""

    def __init__(
        self, part: Part, archive: Archive, patience: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._part = part
        self._archive = archive
        self._patience = patience
        self._now = now
        self._dead_letters = DeadLetters(part.name, part.names)
        self._waiting: list[Waiting] = []
        self._read: str | None = None
        self._next_try, self._wait = 0.0, SHORTEST_WAIT

    def process(self, records: Sequence[Record], pause: Pause) -> str | None:
        """Repairs what can be repaired now. Raises `GaveUp`."""
        for record in records:
            self._add(record, pause)
        self._try_when_due(pause)
        while len(self._waiting) > MOST_WAITING:
            if not pause(SHORTEST_WAIT):
                raise GaveUp("too many late events wait for the archive")
            self._try_when_due(pause)
        return self._waiting[0].before if self._waiting else self._read

    def _add(self, record: Record, pause: Pause) -> None:
        try:
            event = parse_late(record.data)
        except BadLate as why:
            self._bury("bad_late_event", str(why), record.data, pause)
        else:
            LATE.inc()
            PENDING.inc()
            self._waiting.append(Waiting(event, record.data, self._now(), self._read))
            self._wait = SHORTEST_WAIT
            self._next_try = min(self._next_try, self._now() + self._wait)
        self._read = record.sequence

    def _try_when_due(self, pause: Pause) -> None:
        if not self._waiting or self._now() < self._next_try:
            return
        groups = by_minute(self._waiting)
        archived = until_done(lambda: self._archive.events(late[0].event.start_ms for late in groups.values()), pause)
        for (series_id, start), late in groups.items():
            self._repair(series_id, start, late, archived[late[0].event.start_ms], pause)
        self._wait = min(self._wait * 1.5, LONGEST_WAIT)
        self._next_try = self._now() + self._wait

    def _repair(
        self, series_id: str, start: datetime, late: list[Waiting], archived: Mapping[str, Values], pause: Pause
    ) -> None:
        """Puts the minute out again if the archive has all of it; else its late events go on waiting."""
        waited = self._now() - min(waiting.since for waiting in late)
        stored = until_done(lambda: stored_minute(self._part.names, series_id, start), pause)
        first = first_count(self._part.feed, stored)
        missing = [waiting for waiting in late if waiting.event.id not in archived]
        whole = not missing and len(archived) - first >= len({waiting.event.id for waiting in late})
        if not whole or (stored is None and waited < FIRST_WINDOW_WAIT):
            if waited < self._patience:
                return
            for waiting in missing:
                self._bury("not_archived", f"{waiting.event.id} is not in the archive", waiting.data, pause)
        revision = len(archived) - first
        if revision > (stored.revision if stored else 0):
            metrics = aggregate(self._part.feed, list(archived.values()))
            self._put(Minute(series_id, start, revision, metrics), pause)
        self._done(late)

    def _put(self, minute: Minute, pause: Pause) -> None:
        record = NewRecord(minute.series_id, json.dumps(minute.to_json()).encode())
        if put_records(self._part.names.minutes_stream, [record], pause):
            raise GaveUp("a repaired minute could not be put out")
        REPAIRED.inc()
        log.info("repaired", extra={"minute": minute.record_id, "revision": minute.revision})

    def _done(self, late: list[Waiting]) -> None:
        PENDING.dec(len(late))
        self._waiting = [waiting for waiting in self._waiting if waiting not in late]

    def _bury(self, reason: str, detail: str, body: bytes, pause: Pause) -> None:
        self._dead_letters.send(reason, detail, body, pause)
        REJECTED.labels(reason).inc()


def by_minute(late: Iterable[Waiting]) -> dict[Group, list[Waiting]]:
    groups: dict[Group, list[Waiting]] = {}
    for waiting in late:
        groups.setdefault((waiting.event.series_id, waiting.event.start), []).append(waiting)
    return groups


def first_count(feed: Feed, stored: Stored | None) -> int:
    """How many events the minute's window had counted: a revision is what came after it (docs/architecture.md)."""
    return int(stored.features[feed.count_metric]) - stored.revision if stored else 0


def work(part: Part, settings: argparse.Namespace) -> None:
    if not wait_for_resources(part):
        return

    def repairer() -> Repairer:
        return Repairer(part, Archive(part.feed, part.names), settings.patience)

    Consumer(part, part.names.late_stream, repairer, settings.lease_seconds).run()


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_lease_flag(parser)
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help=f"seconds of wall time that a late event waits for the archive (default {PATIENCE:g})",
    )


if __name__ == "__main__":
    run("repairer", __doc__ or "", work, add_flags)
