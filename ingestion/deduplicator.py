"""Takes events from the queue to the stream, each once: delivers, then marks as seen, then acknowledges."""

from __future__ import annotations

import argparse
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Gauge

from ingestion.dead_letters import DeadLetters, queue_url
from ingestion.delivery import TRANSIENT, GaveUp, chunks, deliver, pauses
from ingestion.messages import BadMessage, checked_event, message_of, parse_message
from ingestion.records import RECORD_BYTES, NewRecord, put_records
from ingestion.seen import Seen
from ingestion.waiting import wait_for_resources
from loopcast import aws
from loopcast.event import Rejected
from loopcast.feed import Feed
from loopcast.service import Part, run

RECEIVE = 10
LONG_POLL = 2
"""Seconds; a stop waits for it."""
PASS_BYTES = 1024 * 1024
"""Messages are gathered until they are so long together."""
PATIENCE = 600.0
"""Seconds of tries for a pass; then its messages are left to come again. An outage is sat out with messages in hand:
one that comes too often is moved to the dead-letter queue."""
DEPTH_INTERVAL = 15.0
"""Seconds between two looks at how many messages wait."""

RECEIVED = Counter("loopcast_deduplicator_received_events", "Events in messages")
DELIVERED = Counter("loopcast_deduplicator_delivered_events", "Events that Kinesis has accepted")
REPEATS = Counter("loopcast_deduplicator_repeats", "Events that were seen before")
REJECTED = Counter("loopcast_deduplicator_rejected", "What went to the dead-letter queue", ["reason"])
QUEUED = Gauge("loopcast_deduplicator_queue_messages", "Messages that wait in the queue, the same for all replicas")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """An event, and the record that it becomes; the record's key is the event's id."""

    time: int
    record: NewRecord


@dataclass(frozen=True)
class Message:
    """A message of the queue: what acknowledges it, and the events that it carries by their ids."""

    receipt: str
    events: Mapping[str, Ready]


class Deduplicator:
    """One thread's work: pass after pass, each with the messages that were waiting."""

    def __init__(self, part: Part, seen: Seen) -> None:
        self._part = part
        self._seen = seen
        self._dead_letters = DeadLetters(part.name, part.names)
        self._deadline = 0.0

    def run(self) -> None:
        """Passes until a stop is asked for; whatever AWS answers, it goes on."""
        worker, waits = threading.current_thread().name, pauses()
        while not self._part.stop.requested:
            self._part.health.beat(worker)
            try:
                self.one_pass()
                waits, self._part.health.ready = pauses(), True
            except (*TRANSIENT, GaveUp) as error:
                self._part.health.ready = False
                log.warning("a pass failed: its messages will come again", extra={"error": str(error)})
                self._part.stop.wait(next(waits))

    def one_pass(self) -> int:
        """Takes what is waiting through to the stream; returns how many messages it acknowledged.

        Raises AWS errors and `GaveUp`: then nothing was acknowledged that is not delivered.
        """
        received = self._receive()
        if not received:
            return 0
        self._deadline = time.monotonic() + PATIENCE
        messages = [Message(message["ReceiptHandle"], self._events(message["Body"])) for message in received]
        undone = self._deliver({key: event for message in messages for key, event in message.events.items()})
        done = [message.receipt for message in messages if undone.isdisjoint(message.events)]
        self._acknowledge(done)
        return len(done)

    def _receive(self) -> list[dict[str, Any]]:
        """Waits for messages, and goes on while there are more at once."""
        received = some = self._receive_batch(LONG_POLL)
        while len(some) == RECEIVE and sum(len(message["Body"]) for message in received) < PASS_BYTES:
            some = self._receive_batch(0)
            received = received + some
        return received

    def _receive_batch(self, wait_seconds: int) -> list[dict[str, Any]]:
        answer = aws.client("sqs").receive_message(
            QueueUrl=queue_url(self._part.names.queue), MaxNumberOfMessages=RECEIVE, WaitTimeSeconds=wait_seconds
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _events(self, body: str) -> dict[str, Ready]:
        """The events in a message's body; what can't be used goes to the dead-letter queue by itself."""
        try:
            documents = parse_message(self._part.feed, body)
        except BadMessage as why:
            self._bury("bad_message", str(why), body.encode())
            return {}
        RECEIVED.inc(len(documents))
        events = {}
        for document in documents:
            try:
                ready = ready_event(self._part.feed, document)
                events[ready.record.key] = ready
            except Rejected as why:
                self._bury(why.reason, str(why), message_of(self._part.names, document))
        return events

    def _deliver(self, events: Mapping[str, Ready]) -> set[str]:
        """Delivers those of `events` that were not seen, and marks them; returns the ids not yet done."""
        seen = self._seen.among(list(events), self._pause)
        fresh = sorted((event for key, event in events.items() if key not in seen), key=lambda event: event.time)
        records = [event.record for event in fresh]
        left = {record.key for record in put_records(self._part.names.events_stream, records, self._pause)}
        delivered = [record.key for record in records if record.key not in left]
        REPEATS.inc(len(seen))
        DELIVERED.inc(len(delivered))
        return left | self._seen.mark(delivered, self._pause)

    def _acknowledge(self, receipts: Sequence[str]) -> None:
        """What can't be deleted comes again, and is then known to be delivered."""
        for chunk in chunks(receipts, RECEIVE):
            deliver(chunk, len, self._delete, self._pause)

    def _delete(self, receipts: Sequence[str]) -> list[str]:
        answer = aws.client("sqs").delete_message_batch(
            QueueUrl=queue_url(self._part.names.queue),
            Entries=[{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)],
        )
        failed = [failure for failure in answer.get("Failed", []) if not failure.get("SenderFault")]
        return [receipts[int(failure["Id"])] for failure in failed]

    def _bury(self, reason: str, detail: str, body: bytes) -> None:
        self._dead_letters.send(reason, detail, body, self._pause)
        REJECTED.labels(reason).inc()

    def _pause(self, seconds: float) -> bool:
        self._part.health.beat(threading.current_thread().name)
        self._part.health.ready = False
        return time.monotonic() + seconds < self._deadline and self._part.stop.pause(seconds)


def ready_event(feed: Feed, document: object) -> Ready:
    """The event in a document, fit for the stream. Raises `Rejected`."""
    event = checked_event(feed, document)
    try:
        data = event.to_json()
    except ValueError as error:
        raise Rejected("unreadable", str(error)) from error
    if len(data) > RECORD_BYTES:
        raise Rejected("too_large", f"{len(data)} bytes")
    return Ready(event.time, NewRecord(event.id, data))


def watch_depth(part: Part) -> None:
    """Keeps the gauge of waiting messages, which replicas are scaled by, until a stop is asked for."""
    while not part.stop.requested:
        try:
            QUEUED.set(queue_depth(part.names.queue))
        except TRANSIENT as error:
            QUEUED.set(math.nan)
            log.warning("the queue's depth can't be read", extra={"error": str(error)})
        part.stop.wait(DEPTH_INTERVAL)


def queue_depth(queue: str) -> int:
    """How many messages wait to be received. Raises AWS errors."""
    name = "ApproximateNumberOfMessages"
    answer = aws.client("sqs").get_queue_attributes(QueueUrl=queue_url(queue), AttributeNames=[name])
    return int(answer["Attributes"][name])


def work(part: Part, settings: argparse.Namespace) -> None:
    """Runs the threads until a stop is asked for; one that breaks stops the program."""
    if not wait_for_resources(part):
        return
    threading.Thread(target=watch_depth, args=(part,), name="depth", daemon=True).start()
    with ThreadPoolExecutor(2 * settings.threads, "dynamodb") as calls, ThreadPoolExecutor(settings.threads) as threads:
        remember = part.clock.wall(part.feed.window.deduplication)
        seen = Seen(part.names.seen_table, remember, part.clock.now, calls)
        running = [threads.submit(Deduplicator(part, seen).run) for _ in range(settings.threads)]
        wait(running, return_when=FIRST_EXCEPTION)
        part.stop.request()
    for thread in running:
        thread.result()


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=3, help="passes at the same time (default 3)")


if __name__ == "__main__":
    run("deduplicator", __doc__ or "", work, add_flags)
