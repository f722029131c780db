"""The records of Kinesis streams and of Firehose's direct puts, on disk before a put is answered.

ministack keeps records in lists in memory: it copies them all on each put, addresses them by index and loses them with
the process. Here they lie in SQLite, so memory stays bounded and killing the server loses none. (Killing the machine
may: nothing is flushed to the disk itself.)
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (id INTEGER PRIMARY KEY, stream TEXT, shard TEXT, UNIQUE (stream, shard));
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, shard INTEGER, arrival REAL, partition_key TEXT, data BLOB);
CREATE INDEX IF NOT EXISTS records_by_shard ON records (shard, sequence);
CREATE TABLE IF NOT EXISTS positions (
    reader TEXT, stream TEXT, shard TEXT, next INTEGER, PRIMARY KEY (reader, stream, shard));
"""


@dataclass(frozen=True)
class Record:
    """`sequence` counts over all streams; `arrival` is in seconds since the epoch."""

    sequence: int
    arrival: float
    partition_key: str
    data: bytes


@dataclass(frozen=True)
class NewRecord:
    shard: str
    partition_key: str
    data: bytes


class RecordLog:
    """The log in `file`; safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _SCHEMA)
        self._shards: dict[tuple[str, str], int] = {}

    def append(self, stream: str, records: Sequence[NewRecord]) -> list[int]:
        """Stores `records` and returns their sequence numbers, in the same order."""
        arrival = round(time.time(), 3)
        with self._transaction() as connection:
            return [
                int(
                    connection.execute(
                        "INSERT INTO records (shard, arrival, partition_key, data) VALUES (?, ?, ?, ?)",
                        (self._shard(stream, record.shard), arrival, record.partition_key, record.data),
                    ).lastrowid
                    or 0
                )
                for record in records
            ]

    def read(self, stream: str, shard: str, start: int, limit: int, size: int) -> list[Record]:
        """The first `limit` records from sequence number `start` on, or as many as `size` bytes hold (at least one)."""
        found: list[Record] = []
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT sequence, arrival, partition_key, data FROM records"
                " WHERE shard = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
                (self._shard(stream, shard), start, limit),
            )
            for row in rows:
                size -= len(row[3])
                if found and size < 0:
                    break
                found.append(Record(*row))
        return found

    def next_sequence(self) -> int:
        """The sequence number of the next record of any stream."""
        with self._transaction() as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        return int(row[0]) + 1 if row else 1

    def first_since(self, stream: str, shard: str, arrival: float) -> int:
        """The sequence number of the first record that came at `arrival` or later; the next one's when none has."""
        after_all = self.next_sequence()
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT sequence FROM records WHERE shard = ? AND arrival >= ? ORDER BY sequence LIMIT 1",
                (self._shard(stream, shard), arrival),
            ).fetchone()
        return int(row[0]) if row else after_all

    def arrival_from(self, stream: str, shard: str, start: int) -> float | None:
        """When the first record from sequence number `start` on came; None when there is none."""
        found = self.read(stream, shard, start, 1, 0)
        return found[0].arrival if found else None

    def drop_before(self, stream: str, shard: str, sequence: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM records WHERE shard = ? AND sequence < ?", (self._shard(stream, shard), sequence)
            )

    def drop_older(self, stream: str, arrival: float) -> None:
        """Drops the records of `stream` that came before `arrival`."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM records WHERE arrival < ? AND shard IN (SELECT id FROM shards WHERE stream = ?)",
                (arrival, stream),
            )

    def forget(self, stream: str) -> None:
        """Drops every record of `stream`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM records WHERE shard IN (SELECT id FROM shards WHERE stream = ?)", (stream,))

    def position(self, reader: str, stream: str, shard: str) -> int | None:
        """The sequence number that `reader` goes on from; None when it has none yet."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT next FROM positions WHERE reader = ? AND stream = ? AND shard = ?", (reader, stream, shard)
            ).fetchone()
        return int(row[0]) if row else None

    def set_positions(self, reader: str, stream: str, positions: dict[str, int]) -> None:
        """Where `reader` goes on, by shard: all of them or none, whatever happens."""
        rows = [(reader, stream, shard, position) for shard, position in positions.items()]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                self._shards.clear()
                raise
            self._connection.execute("COMMIT")

    def _shard(self, stream: str, shard: str) -> int:
        """The shard's id, given on its first use; called within a transaction."""
        key = (stream, shard)
        if key not in self._shards:
            self._connection.execute("INSERT OR IGNORE INTO shards (stream, shard) VALUES (?, ?)", key)
            row = self._connection.execute("SELECT id FROM shards WHERE stream = ? AND shard = ?", key).fetchone()
            self._shards[key] = int(row[0])
        return self._shards[key]
