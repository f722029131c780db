"""Events onto the EventBridge bus: full entries, full requests, and only what failed sent again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ingestion.delivery import Pause, deliver, fitting
from loopcast import aws
from loopcast.names import Names

ENTRY_BYTES = 64 * 1024
"""Of an entry: EventBridge and SQS both bill by 64 KiB."""
REQUEST_BYTES = 256 * 1024
REQUEST_ENTRIES = 10
_ENVELOPE = 2048
"""What EventBridge puts round a detail in a queue's message, generously."""
EVENT_BYTES = REQUEST_BYTES - _ENVELOPE
"""An event's JSON may be so long: above it, its body goes to S3."""
_REFUSED = frozenset({"MalformedDetail", "InvalidArgument"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packed:
    """An event on its way: its id and its JSON."""

    id: str
    data: bytes


@dataclass(frozen=True)
class Entry:
    """Some events as one entry of PutEvents, with its `detail` and its size in bytes as EventBridge counts it."""

    events: tuple[Packed, ...]
    detail: str
    size: int


class Bus:
    """The feed's bus. `published(entry)` is called for each entry that it took, `refused(event, why)` for an event
    that it will never take."""

    def __init__(
        self, names: Names, published: Callable[[Entry], None], refused: Callable[[Packed, str], None]
    ) -> None:
        self._names = names
        self._published = published
        self._refused = refused

    def publish(self, events: Sequence[Packed], pause: Pause) -> int:
        """Publishes `events` in their order; returns how many were left when `pause` allowed no other try."""
        entries = list(packed(self._names, events))
        left = deliver(entries, _fit, self._put, pause)
        return sum(len(entry.events) for entry in left)

    def _put(self, entries: Sequence[Entry]) -> list[Entry]:
        answer = aws.client("events").put_events(
            Entries=[
                {
                    "EventBusName": self._names.bus,
                    "Source": self._names.event_source,
                    "DetailType": self._names.event_detail_type,
                    "Detail": entry.detail,
                }
                for entry in entries
            ]
        )
        failed = []
        for entry, result in zip(entries, answer["Entries"], strict=True):
            if result.get("ErrorCode"):
                failed += self._again(entry, result)
            else:
                self._published(entry)
        return failed

    def _again(self, entry: Entry, result: dict[str, str]) -> list[Entry]:
        """What of a failed entry is to be sent again: an event that is refused must not hold up its neighbours."""
        log.warning("an entry failed", extra={"code": result["ErrorCode"], "error": result.get("ErrorMessage")})
        if result["ErrorCode"] not in _REFUSED:
            return [entry]
        if len(entry.events) > 1:
            return [_entry(self._names, [event]) for event in entry.events]
        self._refused(entry.events[0], result.get("ErrorMessage") or result["ErrorCode"])
        return []


def packed(names: Names, events: Sequence[Packed]) -> Iterator[Entry]:
    """`events` in their order, in as few entries as fit; one that alone is over an entry's aim has its own."""
    rest = list(events)
    while rest:
        count = fitting((len(event.data) + 1 for event in rest), len(rest), ENTRY_BYTES - _ENVELOPE)
        yield _entry(names, rest[:count])
        del rest[:count]


def detail_of(names: Names, events: Sequence[bytes]) -> str:
    return f'{{"feed":"{names.feed}","events":[{b",".join(events).decode()}]}}'


def _entry(names: Names, events: Sequence[Packed]) -> Entry:
    detail = detail_of(names, [event.data for event in events])
    return Entry(tuple(events), detail, len(detail) + len(names.event_source) + len(names.event_detail_type))


def _fit(entries: Sequence[Entry]) -> int:
    return fitting((entry.size for entry in entries), REQUEST_ENTRIES, REQUEST_BYTES)
