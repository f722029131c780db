"""A late event, as the windows' job names it: the series, the minute that it missed, and its id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime


class BadLate(ValueError):
    """A record of the late stream that can't be used; the message says why."""


@dataclass(frozen=True)
class LateEvent:
    """The event `id` missed the minute of `series_id` that begins at `start` (UTC)."""

    series_id: str
    start: datetime
    id: str

    @property
    def start_ms(self) -> int:
        return int(self.start.timestamp()) * 1000


def parse_late(data: bytes) -> LateEvent:
    """The late event in a record. Raises `BadLate`."""
    try:
        document = json.loads(data)
        series_id, identifier = document["series_id"], document["id"]
        start = datetime.fromisoformat(document["minute_start"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadLate(f"no late event: {error!r}") from error
    if not isinstance(series_id, str) or not isinstance(identifier, str):
        raise BadLate("series_id and id must be text")
    if start.tzinfo is None or start.second or start.microsecond:
        raise BadLate(f"minute_start is not a whole minute with a time zone: {document['minute_start']!r}")
    return LateEvent(series_id, start.astimezone(UTC), identifier)
