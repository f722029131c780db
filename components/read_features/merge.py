"""One row a minute out of what the two stores of a feature group hold; pure functions.

The offline store has a row for every write, minutes behind; the online store the newest write of each slot of the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from loopcast.minute import SLOTS, WINDOW


@dataclass(frozen=True)
class Row:
    """A write of one minute: `values` has its metrics, as far as they are defined; None when the write deleted it.

    `written` orders writes of the same event time: ISO 8601, or `ONLINE` for the online store, which holds the newest.
    """

    minute: datetime
    event_time: datetime
    written: str
    values: Mapping[str, float] | None


ONLINE = "online"  # sorts after every date


def minute_of(record_id: str, event_time: datetime) -> datetime:
    """The start of the newest minute of the record's slot that had ended by `event_time`.

    A minute's own writes bear its end (and a millisecond a revision); a deletion bears any later time and nothing else.
    """
    slot = int(record_id.rpartition("#")[2])
    midnight = event_time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight + slot * WINDOW
    return start if start + WINDOW <= event_time else start - SLOTS * WINDOW


def newest(rows: Iterable[Row]) -> dict[datetime, Mapping[str, float]]:
    """The metrics of each minute by its start: its newest write wins; a minute whose newest deletes it is absent."""
    winners: dict[datetime, Row] = {}
    for row in rows:
        held = winners.get(row.minute)
        if held is None or _rank(row) > _rank(held):
            winners[row.minute] = row
    return {minute: row.values for minute, row in winners.items() if row.values is not None}


def _rank(row: Row) -> tuple[datetime, str, bool, list[tuple[str, float]]]:
    # The last two make the outcome independent of the order of rows where two writes bear the same instants.
    return row.event_time, row.written, row.values is None, sorted((row.values or {}).items())


def since(minutes: Mapping[datetime, Mapping[str, float]], lookback: timedelta) -> dict[datetime, Mapping[str, float]]:
    """The minutes of the `lookback` before the newest; `minutes` must not be empty."""
    first = max(minutes) - lookback
    return {minute: values for minute, values in minutes.items() if minute > first}
