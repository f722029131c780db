"""Writes each minute to the feature group, once and for all: a newer revision is never replaced by an older one."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from botocore.exceptions import ClientError
from prometheus_client import Counter, Gauge

from ingestion.dead_letters import DeadLetters
from ingestion.delivery import Pause, until_done
from ingestion.online import put, stored_minute
from ingestion.stream import Consumer, Record, add_lease_flag
from ingestion.waiting import wait_for_resources
from loopcast.minute import BadMinute, Minute, parse_minute
from loopcast.service import Part, run

WRITES = 8
"""Minutes written at the same time."""

WRITTEN = Counter("loopcast_feature_writer_written_minutes", "Minutes written")
OUTDATED = Counter("loopcast_feature_writer_outdated_minutes", "Minutes left out: a newer revision is stored")
REJECTED = Counter("loopcast_feature_writer_rejected", "Records that went to the dead-letter queue", ["reason"])
NEWEST = Gauge("loopcast_feature_writer_newest_minute_end_seconds", "Event time of the newest minute written")

log = logging.getLogger(__name__)


class FeatureWriter:
    """Writes one shard's minutes; `pool` is shared by all shards."""

    def __init__(self, part: Part, pool: ThreadPoolExecutor) -> None:
        self._part = part
        self._pool = pool
        self._dead_letters = DeadLetters(part.name, part.names)

    def process(self, records: Sequence[Record], pause: Pause) -> str | None:
        """Returns when all `records` are written. Raises `GaveUp`."""
        minutes = [minute for record in records for minute in self._parsed(record, pause)]
        list(self._pool.map(partial(self._write, pause=pause), newest_revisions(minutes)))
        return records[-1].sequence if records else None

    def _parsed(self, record: Record, pause: Pause) -> Iterable[Minute]:
        try:
            yield parse_minute(self._part.feed, json.loads(record.data))
        except (BadMinute, ValueError, RecursionError) as why:
            self._bury("bad_minute", str(why), record.data, pause)

    def _write(self, minute: Minute, pause: Pause) -> None:
        stored = until_done(lambda: stored_minute(self._part.names, minute.series_id, minute.start), pause)
        if stored and stored.revision > minute.revision:
            OUTDATED.inc()
            return
        refused = until_done(lambda: self._put(minute), pause)
        if refused:
            self._bury("refused_by_feature_store", refused, json.dumps(minute.to_json()).encode(), pause)
            return
        WRITTEN.inc()
        NEWEST.set(minute.event_time.timestamp())

    def _put(self, minute: Minute) -> str:
        """Why the feature group will never take the minute; empty when it has. Raises other AWS errors."""
        try:
            put(self._part.names, minute)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return str(error)
            raise
        return ""

    def _bury(self, reason: str, detail: str, body: bytes, pause: Pause) -> None:
        self._dead_letters.send(reason, detail, body, pause)
        REJECTED.labels(reason).inc()


def newest_revisions(minutes: Iterable[Minute]) -> list[Minute]:
    """The newest revision of each minute; of equal ones the last, oldest minute first."""
    newest: dict[tuple[str, float], Minute] = {}
    for minute in minutes:
        key = (minute.series_id, minute.start.timestamp())
        if key not in newest or newest[key].revision <= minute.revision:
            newest[key] = minute
    return sorted(newest.values(), key=lambda minute: minute.start)


def work(part: Part, settings: argparse.Namespace) -> None:
    if not wait_for_resources(part):
        return
    with ThreadPoolExecutor(WRITES, "writes") as pool:
        Consumer(part, part.names.minutes_stream, lambda: FeatureWriter(part, pool), settings.lease_seconds).run()


if __name__ == "__main__":
    run("feature-writer", __doc__ or "", work, add_lease_flag)
