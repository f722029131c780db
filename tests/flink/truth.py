"""What the job must come to, recomputed from the records of the stream; shares no code with the job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MINUTE = 60_000


@dataclass(frozen=True)
class Truth:
    """The values of the events in each closed minute (by its start, ms), and the ids of the late events."""

    minutes: dict[int, list[dict[str, Any]]]
    late: dict[str, int]


def truth(shards: Sequence[Sequence[bytes]], lateness: int, values: Sequence[str]) -> Truth:
    """From each shard's records in order: an id counts once, and not when it is `lateness` ms behind its shard."""
    minutes: dict[int, list[dict[str, Any]]] = {}
    late: dict[str, int] = {}
    seen: set[str] = set()
    newest = []
    for records in shards:
        ahead = -1
        for event in (found for record in records if (found := event_in(record, values))):
            ahead = max(ahead, event["time"])
            if event["id"] in seen:
                continue
            seen.add(event["id"])
            start = event["time"] // MINUTE * MINUTE
            if start + MINUTE - 1 <= ahead - lateness:
                late[event["id"]] = event["time"]
            else:
                minutes.setdefault(start, []).append(event["values"])
        newest.append(ahead)
    closed = min(newest) - lateness
    return Truth({start: found for start, found in minutes.items() if start + MINUTE - 1 <= closed}, late)


def event_in(record: bytes, values: Sequence[str]) -> dict[str, Any] | None:
    """The event in a record, or None for what isn't one."""
    try:
        event = json.loads(record)["loopcast"]
        sound = all(event["values"][name] is not None for name in values)
    except (ValueError, KeyError, TypeError):
        return None
    return event if sound else None
