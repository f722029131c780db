"""What can't be used goes to the dead-letter queue with its reason, and can be replayed from there."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass

from ingestion import bodies
from ingestion.delivery import Pause, until_done
from loopcast import aws
from loopcast.names import Names

MOST_BYTES = 250 * 1024
"""Of a message: SQS takes 256 KiB with its attributes."""
_MOST_DETAIL = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeadLetter:
    """`part` gave up `body` (text, or the address in S3 of what is too large or no text) for `reason`."""

    part: str
    reason: str
    detail: str
    body: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def parse_dead_letter(text: str) -> DeadLetter:
    """A dead letter. A message that SQS itself moved to the queue, as it came too often, is the deduplicator's."""
    try:
        document = json.loads(text)
        return DeadLetter(**{name: str(document[name]) for name in ("part", "reason", "detail", "body")})
    except (ValueError, TypeError, KeyError):
        return DeadLetter("deduplicator", "redriven", "SQS moved it here", text)


class DeadLetters:
    """The dead-letter queue, as `part` sends to it."""

    def __init__(self, part: str, names: Names) -> None:
        self._part = part
        self._names = names

    def send(self, reason: str, detail: str, body: bytes, pause: Pause) -> None:
        """Sends `body` there. Raises `GaveUp` when it could not be sent."""
        log.warning("dead letter", extra={"reason": reason, "detail": detail[:_MOST_DETAIL]})
        until_done(lambda: self._send(reason, detail[:_MOST_DETAIL], body), pause)

    def _send(self, reason: str, detail: str, body: bytes) -> None:
        aws.client("sqs").send_message(
            QueueUrl=queue_url(self._names.dead_letter_queue),
            MessageBody=self._letter(reason, detail, body).to_json(),
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )

    def _letter(self, reason: str, detail: str, body: bytes) -> DeadLetter:
        try:
            letter = DeadLetter(self._part, reason, detail, body.decode())
        except UnicodeDecodeError:
            return DeadLetter(self._part, reason, detail, bodies.store(self._names, body))
        if len(letter.to_json()) <= MOST_BYTES:
            return letter
        return DeadLetter(self._part, reason, detail, bodies.store(self._names, body))


def original(letter: DeadLetter, names: Names) -> bytes:
    """What the part gave up, from S3 when it lies there. Raises AWS errors."""
    if letter.body.startswith(names.s3(names.oversize_prefix)):
        return bodies.load(letter.body)
    return letter.body.encode()


def queue_url(name: str) -> str:
    """Raises AWS errors; one look-up a process."""
    if name not in _urls:
        _urls[name] = aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    return _urls[name]


_urls: dict[str, str] = {}
