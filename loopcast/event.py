"""An event on its way through the stack: the source's own JSON, with what the stack needs of it under one key.

    {...the source's fields..., "loopcast": {"id": "dfcb...", "time": 1729081889000, "values": {"fee": 3406}}}

`time` is in milliseconds since the epoch, UTC. A body over a service's size limit lies in S3: then `loopcast` also has
`body`, the address of the whole body, and of the source's own fields only the scalar ones travel along.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jmespath

from loopcast.feed import Difference, Feed, Value

KEY = "loopcast"
_LARGEST = 2**63 - 1


class Rejected(ValueError):
    """An event that can't be used; `reason` is short and stable, fit for a metric's label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Event:
    """One event: its id, its time (ms since the epoch), its values by name in the feed's units, and its JSON form."""

    id: str
    time: int
    values: Mapping[str, int | float]
    document: Mapping[str, Any]

    def to_json(self) -> bytes:
        """Raises ValueError where a number isn't finite: JSON has no form for it."""
        return json.dumps(self.document, separators=(",", ":"), allow_nan=False).encode()

    def with_body_at(self, address: str) -> Event:
        """The same event with its body left at `address` (s3://bucket/key): only scalar fields stay inline."""
        scalars = {k: v for k, v in self.document.items() if not isinstance(v, (list, dict))}
        document = {**scalars, KEY: {**self.document[KEY], "body": address}}
        return Event(self.id, self.time, self.values, document)


def normalize(feed: Feed, raw: object, now_ms: int) -> Event:
    """The event in one item of an answer; `now_ms` is this machine's clock. Raises `Rejected`."""
    if not isinstance(raw, dict):
        raise Rejected("not_an_object", f"got {type(raw).__name__}")
    identifier = _identifier(feed, raw)
    time = _time(feed, raw, now_ms)
    values = {name: _value(name, value, raw) for name, value in feed.event.values.items()}
    return Event(identifier, time, values, {**raw, KEY: {"id": identifier, "time": time, "values": values}})


def parse_event(document: object) -> Event:
    """The event in a document that `normalize` made. Raises `Rejected`."""
    try:
        inner = document[KEY]  # type: ignore[index]
        identifier, time, values = inner["id"], inner["time"], inner["values"]
        sound = _is_identifier(identifier) and type(time) is int and isinstance(values, dict)
    except (KeyError, TypeError) as error:
        raise Rejected("not_an_event", f"no {KEY} field: {error}") from error
    if not sound or not all(_is_number(value) for value in values.values()):
        raise Rejected("not_an_event", f"{KEY} has a field of the wrong type")
    return Event(identifier, time, values, document)  # type: ignore[arg-type]


def _identifier(feed: Feed, raw: dict[str, Any]) -> str:
    identifier = jmespath.search(feed.event.id, raw)
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not _is_identifier(identifier):
        raise Rejected("bad_id", f"{feed.event.id} is {identifier!r}")
    return str(identifier)


def _is_identifier(value: object) -> bool:
    # It becomes a key in DynamoDB and a partition key in Kinesis, which take neither more nor half a surrogate pair.
    return isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable()


def _time(feed: Feed, raw: dict[str, Any], now_ms: int) -> int:
    time = jmespath.search(feed.event.time, raw)
    if not _is_number(time) or time < 0:
        raise Rejected("bad_time", f"{feed.event.time} is {time!r}")
    milliseconds = int(time * feed.event.milliseconds_per_unit)
    if milliseconds > now_ms + feed.event.max_clock_skew * 1000:
        raise Rejected("clock_skew", f"{feed.event.time} is {(milliseconds - now_ms) / 1000:.0f} s ahead")
    return milliseconds


def _value(name: str, value: Value, raw: dict[str, Any]) -> int | float:
    found = jmespath.search(value.path, raw)
    if found is None and value.otherwise is not None:
        found = _difference(name, value.otherwise, raw)
    if found is None:
        raise Rejected(f"missing_{name}", f"{value.path} is absent")
    if not _is_number(found) or not 0 <= found <= _LARGEST:
        raise Rejected(f"bad_{name}", f"{value.path} is {found!r}")
    if value.type == "integer":
        if found != int(found):
            raise Rejected(f"bad_{name}", f"{value.path} is {found!r}, not a whole number")
        return -(-int(found) // value.divide_by) if value.divide_by else int(found)
    return float(found)


def _difference(name: str, difference: Difference, raw: dict[str, Any]) -> int | float:
    return _sum(name, difference.sum, raw) - _sum(name, difference.minus, raw)


def _sum(name: str, path: str, raw: dict[str, Any]) -> int | float:
    # A projection leaves out what is null (a coinbase input has no previous output): asking for each element's
    # value in a list form keeps the nulls, so that a sum is never taken over a part.
    head, _, tail = path.partition("[].")
    elements = jmespath.search(head, raw)
    if not isinstance(elements, list):
        raise Rejected(f"missing_{name}", f"{head} is absent")
    found = [jmespath.search(tail, element) if tail else element for element in elements]
    if not all(_is_number(item) for item in found):
        raise Rejected(f"missing_{name}", f"{path} is not known for each of {head}")
    total: int | float = sum(found)
    return total


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _LARGEST
    return isinstance(value, float) and math.isfinite(value)
