"""What was told to whoever is subscribed: takes the notifications out of their queue and keeps each as a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loopcast.aws import client
from loopcast.names import Names

_MOST = 10


def collect(names: Names, file: Path) -> list[str]:
    """Moves what waits in the feed's queue to the end of `file`, a line each, and returns these lines.

    A message leaves the queue after its line is written: a kill between writes it again. Raises botocore's errors.
    """
    sqs = client("sqs")
    queue = sqs.get_queue_url(QueueName=names.notifications_queue)["QueueUrl"]
    lines: list[str] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=_MOST).get("Messages", []):
        found = [line(json.loads(message["Body"])) for message in messages]
        with file.open("a", encoding="utf-8") as text:
            text.writelines(f"{item}\n" for item in found)
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        lines += found
    return sorted(lines)


def line(notification: dict[str, Any]) -> str:
    """`2026-11-21T14:00:00Z ALARM loopcast-x-production-degraded: The model of ...` for what SNS delivers."""
    moment = datetime.fromisoformat(notification["Timestamp"]).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ} {sentence(notification['Message'])}"


def sentence(message: str) -> str:
    """The text of a message: an alarm's JSON, a rule's text in quotes, or anything else as it is."""
    try:
        content = json.loads(message)
    except ValueError:
        return message
    if isinstance(content, dict) and "AlarmName" in content:
        said = content["AlarmDescription"] if content["NewStateValue"] == "ALARM" else content["NewStateReason"]
        return f"{content['NewStateValue']} {content['AlarmName']}: {said}"
    return content if isinstance(content, str) else message
