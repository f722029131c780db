"""The raw archive: gzip objects with an event a line, under the hour of their delivery."""

from __future__ import annotations

import gzip
import json
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingestion.aggregate import Values
from loopcast import aws
from loopcast.event import Rejected, parse_event
from loopcast.feed import Feed
from loopcast.names import Names

MOST_EVENTS = 200_000
"""Events that are kept from objects read before."""
_MINUTE_MS = 60_000

log = logging.getLogger(__name__)

ByMinute = Mapping[int, Mapping[str, Values]]
"""The values of each event by its id, by its minute's start (ms since the epoch)."""


@dataclass(frozen=True)
class Content:
    """What an object of the archive holds."""

    minutes: ByMinute
    size: int


class Archive:
    """Reads the archive; objects never change, so each is read once as long as it is kept in mind."""

    def __init__(self, feed: Feed, names: Names) -> None:
        self._feed = feed
        self._names = names
        self._kept: OrderedDict[str, Content] = OrderedDict()

    def events(self, starts: Iterable[int]) -> dict[int, dict[str, Values]]:
        """The values of each event by its id, for each minute in `starts` (ms since the epoch). Raises AWS errors."""
        found: dict[int, dict[str, Values]] = {start: {} for start in starts}
        for key in self._keys(_first_hour(min(found), self._feed.event.max_clock_skew)):
            minutes = self._content(key).minutes
            for start, events in found.items():
                events.update(minutes.get(start, {}))
        self._forget()
        return found

    def _keys(self, first_hour: str) -> Iterable[str]:
        pages = (
            aws.client("s3")
            .get_paginator("list_objects_v2")
            .paginate(
                Bucket=self._names.bucket,
                Prefix=self._names.raw_prefix,
                StartAfter=self._names.raw_prefix + first_hour,
            )
        )
        return (item["Key"] for page in pages for item in page.get("Contents", []))

    def _content(self, key: str) -> Content:
        if key not in self._kept:
            body = aws.client("s3").get_object(Bucket=self._names.bucket, Key=key)["Body"].read()
            self._kept[key] = read_object(gzip.decompress(body))
        self._kept.move_to_end(key)
        return self._kept[key]

    def _forget(self) -> None:
        size = sum(content.size for content in self._kept.values())
        while size > MOST_EVENTS and len(self._kept) > 1:
            size -= self._kept.popitem(last=False)[1].size


def read_object(lines: bytes) -> Content:
    """What an object holds, given unpacked; a line that is no event is left out, as the windows left it out."""
    minutes: dict[int, dict[str, Values]] = {}
    size = 0
    for line in lines.splitlines():
        try:
            event = parse_event(json.loads(line))
        except (Rejected, ValueError) as error:
            log.warning("a line of the archive is no event", extra={"error": str(error)})
            continue
        minutes.setdefault(event.time // _MINUTE_MS * _MINUTE_MS, {})[event.id] = event.values
        size += 1
    return Content(minutes, size)


def _first_hour(start: int, max_clock_skew: int) -> str:
    """The prefix of the first hour in which an event of the minute can have been delivered: the poller refuses what
    is further ahead of its clock than the feed allows, so no event is delivered much before its time."""
    earliest = datetime.fromtimestamp(start / 1000, UTC) - timedelta(seconds=max_clock_skew)
    return f"{earliest:%Y/%m/%d/%H/}"
