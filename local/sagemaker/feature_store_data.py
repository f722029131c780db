"""What the feature store holds itself, in one SQLite file: the online store, and the rows that the offline store's
files don't have yet. A row is in the file before its call is answered, so killing the server loses none."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.sagemaker.feature_store_records import Row

_SCHEMA = """
CREATE TABLE IF NOT EXISTS online (
    feature_group TEXT, record_id TEXT, event_time_ms INTEGER, is_deleted INTEGER, record TEXT,
    PRIMARY KEY (feature_group, record_id));
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, feature_group TEXT, record_id TEXT, event_time_ms INTEGER,
    is_deleted INTEGER, record TEXT, invoked REAL, batch INTEGER);
CREATE INDEX IF NOT EXISTS waiting_by_batch ON waiting (feature_group, batch);
"""


@dataclass(frozen=True)
class WaitingRow:
    """A row on its way to the offline store; `invoked` is when its call came, in seconds since the epoch."""

    row: Row
    invoked: float


class FeatureData:
    """The data in `file`, by the feature group's key; safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;{_SCHEMA}")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done meanwhile happens, or nothing of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def find(self, group: str, record_id: str) -> Row | None:
        """The newest row of a record in the online store, which may be the mark of its deletion."""
        with self._lock:
            found = self._connection.execute(
                "SELECT record_id, event_time_ms, record, is_deleted FROM online"
                " WHERE feature_group = ? AND record_id = ?",
                (group, record_id),
            ).fetchone()
        return Row(found[0], found[1], json.loads(found[2]), bool(found[3])) if found else None

    def put_online(self, group: str, row: Row) -> None:
        """Takes `row` into the online store, unless it holds a row of the record that is as new or newer."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO online VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " event_time_ms = excluded.event_time_ms, is_deleted = excluded.is_deleted, record = excluded.record"
                " WHERE excluded.event_time_ms > event_time_ms",
                (group, row.record_id, row.event_time_ms, row.is_deleted, json.dumps(dict(row.values))),
            )

    def remove_online(self, group: str, record_id: str) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM online WHERE feature_group = ? AND record_id = ?", (group, record_id))

    def put_waiting(self, group: str, row: Row, invoked: float) -> None:
        with self._lock:
            self._connection.execute(
                "INSERT INTO waiting (feature_group, record_id, event_time_ms, is_deleted, record, invoked)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (group, row.record_id, row.event_time_ms, row.is_deleted, json.dumps(dict(row.values)), invoked),
            )

    def batches(self, group: str) -> list[int]:
        """Puts the rows that wait into a batch and returns the batches, the oldest first. A batch keeps its number,
        which no other ever has, and its rows until it is dropped, so that writing it again writes the same."""
        with self.transaction():
            self._connection.execute(
                "UPDATE waiting SET batch = (SELECT max(id) FROM waiting) WHERE feature_group = ? AND batch IS NULL",
                (group,),
            )
            found = self._connection.execute(
                "SELECT DISTINCT batch FROM waiting WHERE feature_group = ? ORDER BY batch", (group,)
            ).fetchall()
        return [number for (number,) in found]

    def batch(self, group: str, number: int) -> Sequence[WaitingRow]:
        with self._lock:
            found = self._connection.execute(
                "SELECT record_id, event_time_ms, record, is_deleted, invoked FROM waiting"
                " WHERE feature_group = ? AND batch = ? ORDER BY id",
                (group, number),
            ).fetchall()
        return [WaitingRow(Row(row[0], row[1], json.loads(row[2]), bool(row[3])), row[4]) for row in found]

    def drop_batch(self, group: str, number: int) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM waiting WHERE feature_group = ? AND batch = ?", (group, number))

    def forget(self, group: str) -> None:
        """Drops all that the file holds of a feature group."""
        with self.transaction():
            for table in ("online", "waiting"):
                self._connection.execute(f"DELETE FROM {table} WHERE feature_group = ?", (group,))  # noqa: S608

    def online_size(self, group: str) -> int:
        """Bytes of the group's records in the online store."""
        with self._lock:
            (size,) = self._connection.execute(
                "SELECT coalesce(sum(length(record)), 0) FROM online WHERE feature_group = ?", (group,)
            ).fetchone()
        return int(size)
