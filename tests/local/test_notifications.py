"""Notifications are read once each, as sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.notifications import collect, line, sentence
from loopcast.aws import client
from loopcast.names import Names

NAMES = Names("told", "000000000000")


def alarm(state: str) -> str:
    return json.dumps(
        {"AlarmName": "degraded", "NewStateValue": state, "AlarmDescription": "Worse.", "NewStateReason": "Better."}
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (alarm("ALARM"), "ALARM degraded: Worse."),
        (alarm("OK"), "OK degraded: Better."),
        ('"Model x version 1 is Approved."', "Model x version 1 is Approved."),
        ("anything", "anything"),
        ('{"else": 1}', '{"else": 1}'),
    ],
)
def test_a_message_becomes_a_sentence(message: str, said: str) -> None:
    assert sentence(message) == said
    assert line({"Timestamp": "2026-11-21T14:00:00.000Z", "Message": message}) == f"2026-11-21T14:00:00Z {said}"


@pytest.mark.usefixtures("aws")
def test_each_notification_is_kept_once(tmp_path: Path) -> None:
    arn = client("sns").create_topic(Name=NAMES.topic)["TopicArn"]
    client("sqs").create_queue(QueueName=NAMES.notifications_queue)
    queue = f"arn:aws:sqs:us-east-1:000000000000:{NAMES.notifications_queue}"
    client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    file = tmp_path / "notifications"
    for number in range(12):
        client("sns").publish(TopicArn=arn, Message=f"message {number:02d}")

    collected = collect(NAMES, file)

    assert [item.partition(" ")[2] for item in collected] == [f"message {number:02d}" for number in range(12)]
    assert sorted(file.read_text().splitlines()) == collected
    assert collect(NAMES, file) == []
