"""The ledger: every transaction in an answer that was sent whole, in a SQLite file that survives kill -9."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from local.source.arrivals import Arrival
from local.source.regime import Regime

_TABLES = """
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS position (
    one INTEGER PRIMARY KEY CHECK (one = 1), moment INTEGER, arrived INTEGER, unlisted INTEGER, answered INTEGER);
CREATE TABLE IF NOT EXISTS regimes (moment INTEGER, fees REAL, volume REAL);
CREATE TABLE IF NOT EXISTS listed (
    number INTEGER PRIMARY KEY, hash TEXT, time INTEGER, fee INTEGER, size INTEGER, weight INTEGER);
"""
SCHEMA = pa.schema(
    [
        ("hash", pa.string()),
        *((name, pa.int64()) for name in ("time", "fee", "size", "weight")),
    ]
)


class BadLedger(ValueError):
    """A ledger that can't be gone on with; the message says why and what to do."""


@dataclass(frozen=True)
class Position:
    """How far the source has come. moment: event time, microseconds since the epoch; the rest are counts."""

    moment: int
    arrived: int = 0
    unlisted: int = 0
    answered: int = 0


class Ledger:
    """The file at `path`, opened for writing by one source; not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise BadLedger(f"{path} can't be opened as a ledger ({error}): give another file") from error

    def identity(self) -> dict[str, str]:
        """What the ledger was begun with; empty when it is new."""
        return dict(self._file.execute("SELECT name, value FROM identity").fetchall())

    def begin(self, identity: Mapping[str, object]) -> None:
        """Says what a new ledger is of. Raises `BadLedger` when it is of something else already."""
        wanted = {name: json.dumps(value) for name, value in identity.items()}
        known = self.identity()
        different = [name for name in wanted if known and known.get(name) != wanted[name]]
        if different:
            name = different[0]
            raise BadLedger(
                f"{self._path} was begun with {name} {known.get(name)}, not {wanted[name]}: "
                "give the same again, or another ledger"
            )
        self._file.executemany("INSERT OR IGNORE INTO identity VALUES (?, ?)", wanted.items())

    def position(self) -> Position | None:
        row = self._file.execute("SELECT moment, arrived, unlisted, answered FROM position").fetchone()
        return Position(*row) if row else None

    def count(self) -> int:
        """How many transactions were listed."""
        return int(self._file.execute("SELECT count(*) FROM listed").fetchone()[0])

    def numbers_from(self, first: int) -> set[int]:
        """The numbers, from `first` on, of the arrivals that were listed."""
        return {number for (number,) in self._file.execute("SELECT number FROM listed WHERE number >= ?", (first,))}

    def regimes(self) -> list[tuple[int, Regime]]:
        rows = self._file.execute("SELECT moment, fees, volume FROM regimes ORDER BY rowid")
        return [(moment, Regime(fees=fees, volume=volume)) for moment, fees, volume in rows]

    def change_regime(self, moment: int, regime: Regime) -> None:
        self._file.execute("INSERT INTO regimes VALUES (?, ?, ?)", (moment, regime.fees, regime.volume))

    def move(self, position: Position) -> None:
        """Remembers how far the source has come: before an answer is sent, so that a restart begins there."""
        row = (position.moment, position.arrived, position.unlisted, position.answered)
        self._file.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?)", row)

    def enter(self, arrivals: Iterable[Arrival], position: Position) -> None:
        """Enters what an answer listed that was sent whole, in one transaction."""
        rows = [(a.number, a.hash, a.time, a.fee, a.size, a.weight) for a in arrivals]
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?, ?, ?)", rows)
        self.move(position)
        self._file.execute("COMMIT")

    def close(self) -> None:
        self._file.close()


def read(path: str | Path) -> pa.Table:
    """What the ledger holds, in order of arrival: hash (string); time (s since the epoch), fee (satoshi), size (bytes)
    and weight (weight units), all int64. It may be read while the source writes. Raises `BadLedger`."""
    if not Path(path).is_file():
        raise BadLedger(f"there is no ledger at {path}")
    file = sqlite3.connect(path, timeout=30)
    try:
        rows = file.execute("SELECT hash, time, fee, size, weight FROM listed ORDER BY number").fetchall()
    except sqlite3.Error as error:
        raise BadLedger(f"{path} is not a ledger: {error}") from error
    finally:
        file.close()
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in SCHEMA]
    return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)
