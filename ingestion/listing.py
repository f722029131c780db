"""What is new in an answer: its events that were not published yet, oldest first, and what can't be used."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import jmespath
from jmespath.exceptions import JMESPathError

from loopcast.event import Event, Rejected, normalize
from loopcast.feed import Feed


class Recent:
    """The newest `most` keys that were remembered."""

    def __init__(self, most: int) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    def remember(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._keys[key] = None
            self._keys.move_to_end(key)
        while len(self._keys) > self._most:
            self._keys.popitem(last=False)


@dataclass(frozen=True)
class Fresh:
    """An event that was not published yet, and its JSON."""

    event: Event
    data: bytes


@dataclass(frozen=True)
class Refusal:
    """An item that can't be used: the key that it is remembered by, its JSON, and why."""

    key: str
    body: bytes
    why: Rejected


@dataclass(frozen=True)
class Listing:
    """An answer, read. `known` has the remembered keys that it listed again. `gap`: it is full and has none of them,
    so events may have gone by unseen."""

    fresh: Sequence[Fresh]
    refused: Sequence[Refusal]
    known: Sequence[str]
    gap: bool


def read_listing(feed: Feed, items: Sequence[object], recent: Recent, now_ms: int) -> Listing:
    """Reads the items of an answer, newest first, beside what is remembered; `now_ms` is this machine's clock."""
    fresh: dict[str, Fresh] = {}
    refused: dict[str, Refusal] = {}
    known: dict[str, None] = {}
    for item in reversed(items):
        key = _key(feed, item)
        if key in recent:
            known[key] = None
            continue
        try:
            fresh[key] = _fresh(feed, item, now_ms)
        except Rejected as why:
            refusal = Refusal(f"refused {key}", json.dumps(item).encode(), why)
            if refusal.key in recent:
                known[refusal.key] = None
            else:
                refused[refusal.key] = refusal
    gap = bool(recent) and not known and len(items) >= feed.source.page_size
    oldest_first = sorted(fresh.values(), key=lambda found: found.event.time)
    return Listing(oldest_first, list(refused.values()), list(known), gap)


def _fresh(feed: Feed, item: object, now_ms: int) -> Fresh:
    try:
        event = normalize(feed, item, now_ms)
        return Fresh(event, event.to_json())
    except Rejected:
        raise
    except ValueError as error:  # a JMESPath function met a type it can't take, or a number has no form in JSON
        raise Rejected("unreadable", str(error)) from error


def _key(feed: Feed, item: object) -> str:
    """An item's id where it has one, else a digest of it."""
    with suppress(JMESPathError):
        identifier = jmespath.search(feed.event.id, item)
        if isinstance(identifier, (str, int)):
            return str(identifier)
    return hashlib.sha256(json.dumps(item).encode()).hexdigest()
