"""Watches whether events and minutes flow: looks at the parts' metrics until what they count has risen.

With --feature-writer, a new minute must also be readable in the feature store. Ends with 0 once everything has moved,
and with 1 and a sentence for each thing that has not within --seconds. It only reads.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from prometheus_client.parser import text_string_to_metric_families

from ingestion.delivery import TRANSIENT
from ingestion.online import stored_minute
from loopcast.minute import WINDOW
from loopcast.service import Part, run_once

INTERVAL = 2.0
"""Seconds between two looks."""
NEWEST_MINUTE = "loopcast_feature_writer_newest_minute_end_seconds"
WATCHED = {
    "poller": ("loopcast_poller_published_events_total", "the poller published no event"),
    "deduplicator": ("loopcast_deduplicator_delivered_events_total", "the deduplicator delivered no event"),
    "feature_writer": (NEWEST_MINUTE, "no newer minute was written to the feature store"),
}


class Watch:
    """What one part counts, over all its replicas; a replica that appears later counts from what it says first."""

    def __init__(self, url: str, metric: str) -> None:
        self._url = url
        self._metric = metric
        self._first: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self.error = "it was not asked yet"

    def look(self) -> None:
        """Asks every replica; what can't be asked stays as it was seen."""
        try:
            values = {address: value(address, self._metric) for address in addresses(self._url)}
        except (OSError, ValueError) as error:
            self.error = str(error)
            return
        self.error = ""
        for address, found in values.items():
            self._first.setdefault(address, found)
            self._seen[address] = found

    @property
    def rise(self) -> float:
        return sum(found - self._first[address] for address, found in self._seen.items())

    @property
    def newest(self) -> float:
        return max(self._seen.values(), default=0.0)


def addresses(url: str) -> list[str]:
    """`url` with each address of its host, for a Service without an address of its own names all replicas."""
    parts = urlsplit(url)
    _, _, hosts = socket.gethostbyname_ex(parts.hostname or "")
    return [urlunsplit(parts._replace(netloc=f"{host}:{parts.port or 80}")) for host in sorted(set(hosts))]


def value(url: str, metric: str) -> float:
    """The sum of a metric's samples. Raises `OSError` when it can't be asked."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310 (what the caller gave)
        families = text_string_to_metric_families(answer.read().decode())
        return sum(sample.value for family in families for sample in family.samples if sample.name == metric)


def faults(part: Part, watches: Mapping[str, Watch]) -> Iterator[str]:
    """What has not moved as yet, a sentence each."""
    for name, watch in watches.items():
        watch.look()
        if watch.rise <= 0:
            yield f"{WATCHED[name][1]}{f' ({watch.error})' if watch.error else ''}"
        elif name == "feature_writer":
            yield from _unreadable(part, datetime.fromtimestamp(watch.newest, UTC))


def _unreadable(part: Part, end: datetime) -> Iterator[str]:
    start = (end - WINDOW).replace(second=0, microsecond=0)
    try:
        if not stored_minute(part.names, part.feed.name, start):
            yield f"the minute {start:%H:%M} was written, and the feature store doesn't have it"
    except TRANSIENT as error:
        yield f"the minute {start:%H:%M} can't be read from the feature store: {error}"


def _work(part: Part, settings: argparse.Namespace) -> None:
    given = {name: getattr(settings, name) for name in WATCHED}
    watches = {name: Watch(url.rstrip("/"), WATCHED[name][0]) for name, url in given.items() if url}
    if not watches:
        raise SystemExit("give --poller, --deduplicator or --feature-writer: there is nothing to watch")
    deadline = time.monotonic() + settings.seconds
    while left := list(faults(part, watches)):
        if part.stop.requested or time.monotonic() >= deadline:
            raise SystemExit(f"after {settings.seconds:g} s: {'; '.join(left)}")
        part.stop.wait(INTERVAL)
    moved = ", ".join(f"{name}: {watch.rise:g} more" for name, watch in watches.items() if name != "feature_writer")
    print(f"everything moves ({moved})" if moved else "everything moves", file=sys.stderr)


def _seconds(text: str) -> float:
    if (seconds := float(text)) > 0:
        return seconds
    raise argparse.ArgumentTypeError(f"must be above 0, not {text}")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    for name in WATCHED:
        parser.add_argument(
            f"--{name.replace('_', '-')}", default="", metavar="URL", help="where its /metrics are, of all its replicas"
        )
    parser.add_argument("--seconds", type=_seconds, default=120.0, help="everything must have moved then (default 120)")


if __name__ == "__main__":
    run_once("probe", __doc__ or "", _work, _add_flags)
