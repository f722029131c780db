"""What a message of the ingest queue carries: EventBridge's envelope round a detail with a list of events."""

from __future__ import annotations

import json

from ingestion.bus import detail_of
from loopcast.event import Event, Rejected, parse_event
from loopcast.feed import Feed
from loopcast.names import Names


class BadMessage(ValueError):
    """A message that carries no list of events; it says why."""


def parse_message(feed: Feed, body: str) -> list[object]:
    """The events' documents in a message's body. Raises `BadMessage`."""
    try:
        detail = json.loads(body)["detail"]
        name, documents = detail["feed"], detail["events"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadMessage(f"no events in it: {error!r}") from error
    if name != feed.name or not isinstance(documents, list):
        raise BadMessage(f"it has no list of events of the feed {feed.name}")
    return documents


def message_of(names: Names, document: object) -> bytes:
    """The body of a message that carries one document only."""
    return b'{"detail":%s}' % detail_of(names, [json.dumps(document).encode()]).encode()


def checked_event(feed: Feed, document: object) -> Event:
    """The event in a document, with every value that the feed needs, in its type: the windows would leave it out in
    silence otherwise. Raises `Rejected`."""
    event = parse_event(document)
    for name, value in feed.event.values.items():
        if name not in event.values:
            raise Rejected(f"missing_{name}", "the event lacks the value")
        if value.type == "integer" and not isinstance(event.values[name], int):
            raise Rejected(f"bad_{name}", f"{event.values[name]!r} is not a whole number")
    return event
