"""What happens to a stage and its models reaches whoever is subscribed, once, with a sentence and a link."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from loopcast import aws
from loopcast.names import Names
from tests.applier.conftest import ACCOUNT, Stack
from tests.local.aws.waiting import until

pytestmark = pytest.mark.usefixtures("sagemaker")

MODEL = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/loopcast-empirical:1"


@pytest.fixture
def names(stack: Stack) -> Iterator[Names]:
    """A feed whose monitor already works, so that none of its alarms tells of silence."""
    assert stack.run("apply").code == 0
    while received(stack.names):
        pass
    yield stack.names
    assert stack.run("destroy", "--yes").code == 0


def received(names: Names) -> list[dict[str, Any]]:
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=names.notifications_queue)["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in messages]


def set_state(alarm: str, state: str) -> None:
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="test")


def test_a_degraded_model_is_told_of_once_and_its_recovery_too(names: Names) -> None:
    loss, degraded = (names.alarm("production", kind) for kind in ("quantile-loss", "degraded"))

    set_state(loss, "ALARM")
    set_state(loss, "OK")

    told = [json.loads(message["Message"]) for message in received(names)]
    assert sorted((item["AlarmName"], item["NewStateValue"]) for item in told) == [
        (degraded, "ALARM"),
        (degraded, "OK"),
    ]
    assert "https://us-east-1.console.aws.amazon.com/cloudwatch/" in told[0]["AlarmDescription"]
    assert "docs/runbook.md#degraded" in told[0]["AlarmDescription"]


def test_holes_in_the_input_are_told_of_instead_of_the_loss_that_they_cause(names: Names) -> None:
    set_state(names.alarm("production", "missing-minutes"), "ALARM")
    set_state(names.alarm("production", "quantile-loss"), "ALARM")

    told = [json.loads(message["Message"])["AlarmName"] for message in received(names)]

    assert told == [names.alarm("production", "missing-minutes")]


def test_a_version_that_waits_for_approval_is_told_of_in_a_sentence_with_a_link(names: Names) -> None:
    aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=names.model_package_group,
        InferenceSpecification={
            "Containers": [{"Image": MODEL}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    told: list[str] = []

    def is_told() -> bool:
        told.extend(message["Message"] for message in received(names))
        return bool(told)

    until(is_told)

    (sentence,) = told
    assert sentence.startswith(
        f'"Model {names.prefix} version 1 is PendingManualApproval (Completed). Dashboard: https'
    )
    assert sentence.endswith('docs/runbook.md#model-packages"')


def test_an_endpoint_that_fails_is_told_of_and_its_way_there_is_not(names: Names) -> None:
    rule = aws.client("events").describe_rule(Name=names.endpoints_rule)
    event = {"source": "aws.sagemaker", "detail-type": "SageMaker Endpoint State Change", "account": ACCOUNT}
    event |= {"id": "1", "region": "us-east-1", "time": "2026-11-21T00:00:00Z", "resources": []}

    def matches(endpoint: str, status: str) -> bool:
        text = json.dumps({**event, "detail": {"EndpointName": endpoint, "EndpointStatus": status}})
        return bool(aws.client("events").test_event_pattern(EventPattern=rule["EventPattern"], Event=text)["Result"])

    assert matches(names.endpoint("staging"), "FAILED")
    assert matches(names.endpoint("production"), "IN_SERVICE")
    assert not matches(names.endpoint("staging"), "CREATING")
    assert not matches(f"{names.prefix}-eu-staging", "FAILED")
