"""Puts dead letters back into the input of the part that gave them up. What fails again returns to the queue."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ingestion import bodies
from ingestion.bus import EVENT_BYTES, Bus, Packed
from ingestion.dead_letters import DeadLetter, original, parse_dead_letter, queue_url
from ingestion.delivery import TRANSIENT
from ingestion.records import NewRecord, put_records
from loopcast import aws
from loopcast.event import Rejected, normalize
from loopcast.service import Part, run_once

RECEIVE = 10
HIDDEN = 300
"""Seconds for which a letter is hidden from other readers while a run has it."""
PATIENCE = 10.0
"""Seconds of tries to put a letter back."""

log = logging.getLogger(__name__)


class StaysDead(Exception):
    """A dead letter that can't be put back as things are; it stays in the queue."""


class Replay:
    """One run over the dead letters that are in the queue at its begin."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._queue = queue_url(part.names.dead_letter_queue)
        self._kept: list[str] = []
        self._inputs: Mapping[str, Callable[[bytes], None]] = {
            "poller": self._publish,
            "deduplicator": self._enqueue,
            "feature-writer": lambda body: self._put(part.names.minutes_stream, body),
            "repairer": lambda body: self._put(part.names.late_stream, body),
        }
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        """How many letters by part, reason, and `replayed` or `kept`."""

    def run(self) -> None:
        """Puts back every letter that was sent before now. Raises AWS errors."""
        begun = int(time.time() * 1000)
        while not self._part.stop.requested:
            messages = self._receive()
            old = [message for message in messages if int(message["Attributes"]["SentTimestamp"]) <= begun]
            self._kept += [message["ReceiptHandle"] for message in messages if message not in old]
            for message in old:
                self._replay(message["ReceiptHandle"], parse_dead_letter(message["Body"]))
            if not old:
                break
        for receipt in self._kept:
            aws.client("sqs").change_message_visibility(
                QueueUrl=self._queue, ReceiptHandle=receipt, VisibilityTimeout=0
            )

    def _receive(self) -> list[dict[str, Any]]:
        answer = aws.client("sqs").receive_message(
            QueueUrl=self._queue,
            MaxNumberOfMessages=RECEIVE,
            WaitTimeSeconds=1,
            VisibilityTimeout=HIDDEN,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _replay(self, receipt: str, letter: DeadLetter) -> None:
        try:
            self._put_back(letter)
        except (StaysDead, *TRANSIENT) as why:
            log.warning("stays dead", extra={"of": letter.part, "reason": letter.reason, "error": str(why)})
            self._kept.append(receipt)
            self.outcomes[letter.part, letter.reason, "kept"] += 1
        else:
            aws.client("sqs").delete_message(QueueUrl=self._queue, ReceiptHandle=receipt)
            self.outcomes[letter.part, letter.reason, "replayed"] += 1

    def _put_back(self, letter: DeadLetter) -> None:
        if letter.part not in self._inputs:
            raise StaysDead(f"there is no part {letter.part!r}")
        self._inputs[letter.part](original(letter, self._part.names))

    def _publish(self, body: bytes) -> None:
        """The poller's letters are items of the source's answers: they become events as if polled now."""
        names = self._part.names
        try:
            event = normalize(self._part.feed, json.loads(body), self._part.clock.now_ms())
            packed = Packed(event.id, bodies.within(names, event, event.to_json(), EVENT_BYTES))
        except (Rejected, ValueError) as why:
            raise StaysDead(str(why)) from why
        refusals: list[str] = []
        bus = Bus(names, published=lambda entry: None, refused=lambda event, why: refusals.append(why))
        if bus.publish([packed], self._pause()) or refusals:
            raise StaysDead("the bus did not take it")

    def _enqueue(self, body: bytes) -> None:
        """The deduplicator's letters are messages of its queue."""
        aws.client("sqs").send_message(QueueUrl=queue_url(self._part.names.queue), MessageBody=body.decode())

    def _put(self, stream: str, body: bytes) -> None:
        if put_records(stream, [NewRecord(_series(body), body)], self._pause()):
            raise StaysDead("the stream did not take it")

    def _pause(self) -> Callable[[float], bool]:
        deadline = time.monotonic() + PATIENCE
        return lambda seconds: time.monotonic() < deadline and self._part.stop.pause(seconds)


def _series(body: bytes) -> str:
    """The series of a minute or a late event, so that it comes to the same shard as the others."""
    try:
        return str(json.loads(body)["series_id"]) or "replay"
    except (ValueError, TypeError, KeyError):
        return "replay"


def work(part: Part, settings: argparse.Namespace) -> None:
    replay = Replay(part)
    replay.run()
    for (name, reason, outcome), count in sorted(replay.outcomes.items()):
        print(f"{name}: {reason}: {count} {outcome}")
    if not replay.outcomes:
        print("there are no dead letters")


if __name__ == "__main__":
    run_once("replay", __doc__ or "", work)
