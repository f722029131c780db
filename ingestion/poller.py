"""Polls the source so that consecutive answers overlap, and publishes each event once, oldest first."""

from __future__ import annotations

import argparse
import logging
import os
import threading

from prometheus_client import Counter, Gauge

from ingestion import bodies
from ingestion.bus import EVENT_BYTES, Bus, Entry, Packed
from ingestion.dead_letters import DeadLetters
from ingestion.delivery import TRANSIENT, GaveUp, until_done
from ingestion.listing import Fresh, Listing, Recent, Refusal, read_listing
from ingestion.pace import Pace, pace_of
from ingestion.source import Source, SourceFault
from ingestion.waiting import wait_for_resources
from loopcast import aws
from loopcast.service import Part, run

REMEMBERED_PAGES = 50
METRIC_INTERVAL = 10.0
"""Seconds of wall time between two points of the CloudWatch metric."""

ANSWERS = Counter("loopcast_poller_answers", "Answers by what became of them", ["outcome"])
POLLED = Counter("loopcast_poller_polled_events", "Distinct events taken from answers")
PUBLISHED = Counter("loopcast_poller_published_events", "Events that EventBridge has accepted")
PUBLISHED_BYTES = Counter("loopcast_poller_published_bytes", "Bytes that EventBridge has accepted")
GAPS = Counter("loopcast_poller_gaps", "Full answers that shared nothing with those before")
REJECTED = Counter("loopcast_poller_rejected", "Items that went to the dead-letter queue", ["reason"])
OVERSIZE = Counter("loopcast_poller_oversize", "Events whose body was left in S3")
INTERVAL = Gauge("loopcast_poller_interval_seconds", "The present interval between polls, in wall time")
IN_HAND = Gauge("loopcast_poller_in_hand_events", "Events polled and not yet published")

log = logging.getLogger(__name__)


class Poller:
    """One poll after another: what an answer brings is published before the next one is asked for."""

    def __init__(self, part: Part, source: Source, pace: Pace, sent: BytesSent) -> None:
        self._part = part
        self._source = source
        self._pace = pace
        self._sent = sent
        self._recent = Recent(REMEMBERED_PAGES * part.feed.source.page_size)
        self._dead_letters = DeadLetters(part.name, part.names)
        self._bus = Bus(part.names, self._published, self._refused)
        self._last: float | None = None
        self._faults = 0

    def run(self) -> None:
        """Polls until a stop is asked for. Raises `GaveUp` when what was then in hand could not be published."""
        while not self._part.stop.requested:
            begun = self._part.clock.monotonic()
            wait = self.step()
            INTERVAL.set(wait)
            self._part.stop.wait(begun + wait - self._part.clock.monotonic())

    def step(self) -> float:
        """One poll and the publishing of what it brought. Returns the seconds from its begin to the next one's."""
        begun = self._part.clock.monotonic()
        self._part.health.beat()
        try:
            items = self._source.poll()
        except SourceFault as fault:
            return self._fault(fault)
        ANSWERS.labels("ok").inc()
        listing = read_listing(self._part.feed, items, self._recent, self._part.clock.now_ms())
        interval = self._next_interval(begun, listing)
        self._take(listing)
        self._last, self._faults, self._part.health.ready = begun, 0, True
        return interval

    def _next_interval(self, begun: float, listing: Listing) -> float:
        if self._last is None:
            return self._pace.shortest
        if listing.gap:
            GAPS.inc()
            log.warning("a gap: the answer shares nothing with those before")
        return self._pace.after_answer(begun - self._last, len(listing.fresh), listing.gap)

    def _fault(self, fault: SourceFault) -> float:
        self._faults += 1
        self._part.health.ready = False
        ANSWERS.labels(fault.reason).inc()
        log.warning("no answer", extra={"error": str(fault), "faults": self._faults})
        return self._pace.after_fault(self._faults, fault.retry_after)

    def _take(self, listing: Listing) -> None:
        self._recent.remember(listing.known)
        for refusal in listing.refused:
            self._bury(refusal)
        POLLED.inc(len(listing.fresh))
        IN_HAND.set(len(listing.fresh))
        left = self._bus.publish([self._packed(found) for found in listing.fresh], self._pause)
        if left:
            raise GaveUp(f"{left} events could not be published")

    def _bury(self, refusal: Refusal) -> None:
        self._dead_letters.send(refusal.why.reason, str(refusal.why), refusal.body, self._pause)
        REJECTED.labels(refusal.why.reason).inc()
        self._recent.remember([refusal.key])

    def _packed(self, found: Fresh) -> Packed:
        data = until_done(lambda: bodies.within(self._part.names, found.event, found.data, EVENT_BYTES), self._pause)
        OVERSIZE.inc(data is not found.data)
        return Packed(found.event.id, data)

    def _published(self, entry: Entry) -> None:
        self._recent.remember(event.id for event in entry.events)
        PUBLISHED.inc(len(entry.events))
        PUBLISHED_BYTES.inc(entry.size)
        IN_HAND.dec(len(entry.events))
        self._sent.add(entry.size)

    def _refused(self, event: Packed, why: str) -> None:
        self._dead_letters.send("refused_by_eventbridge", why, event.data, self._pause)
        REJECTED.labels("refused_by_eventbridge").inc()
        self._recent.remember([event.id])
        IN_HAND.dec()

    def _pause(self, seconds: float) -> bool:
        self._part.health.beat()
        self._part.health.ready = False
        return self._part.stop.pause(seconds)


class BytesSent:
    """The bytes published, as a CloudWatch metric: a sum every `METRIC_INTERVAL` seconds, counted after success."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, size: int) -> None:
        with self._lock:
            self._bytes += size

    def report_regularly(self) -> None:
        while not self._part.stop.requested:
            self._part.stop.wait(METRIC_INTERVAL)
            self.report()

    def report(self) -> None:
        """Sends what was counted since the last report; what can't be sent is in the next one."""
        with self._lock:
            size, self._bytes = self._bytes, 0
        try:
            self._put(size)
        except TRANSIENT as error:
            log.warning("the metric was not taken", extra={"error": str(error)})
            self.add(size)

    def _put(self, size: int) -> None:
        aws.client("cloudwatch").put_metric_data(
            Namespace=self._part.names.metric_namespace,
            MetricData=[
                {
                    "MetricName": "PublishedBytes",
                    "Dimensions": [{"Name": "Feed", "Value": self._part.feed.name}],
                    "Value": size,
                    "Unit": "Bytes",
                }
            ],
        )


def work(part: Part, settings: argparse.Namespace) -> None:
    if not wait_for_resources(part):
        return
    url = settings.source_url or part.feed.source.url
    sent = BytesSent(part)
    reports = threading.Thread(target=sent.report_regularly, name="metric", daemon=True)
    reports.start()
    try:
        Poller(part, Source(part.feed, url), pace_of(part.feed.source, part.clock), sent).run()
    except GaveUp as error:
        raise SystemExit(f"stopped with work in hand: {error}") from error
    finally:
        part.stop.request()
        reports.join()


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source-url",
        default=os.environ.get("LOOPCAST_SOURCE_URL", ""),
        help="polls this instead of the feed's source.url (LOOPCAST_SOURCE_URL)",
    )


if __name__ == "__main__":
    run("poller", __doc__ or "", work, add_flags)
