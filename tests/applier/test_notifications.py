"""What happens to a stage and its models reaches whoever is subscribed, once, with a sentence and a link."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from applier.__main__ import main
from loopcast import aws
from loopcast.names import Names
from tests.applier.conftest import ACCOUNT, DEFAULT_FEED, Stack
from tests.conftest import Service, environment
from tests.local.aws.waiting import until

pytestmark = pytest.mark.usefixtures("sagemaker")

MODEL = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/loopcast-empirical:1"


@pytest.fixture(scope="module")
def names(sagemaker: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    """A feed at a speed at which an hour is ten seconds; what its new alarms told is read already."""
    feed = tmp_path_factory.mktemp("feed") / "feed.yaml"
    feed.write_text(DEFAULT_FEED.read_text().replace("name: bitcoin-fees", "name: told"))
    told = Names("told", ACCOUNT)
    with environment({"LOOPCAST_SPEED": "360"}):
        assert main(["apply", "--feed", str(feed)]) == 0
        while received(told):
            pass
        yield told
        assert main(["destroy", "--yes", "--feed", str(feed)]) == 0


def received(names: Names) -> list[dict[str, Any]]:
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=names.notifications_queue)["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in messages]


def set_state(alarm: str, state: str) -> None:
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="test")


def test_a_model_that_becomes_worse_than_its_threshold_is_told_of_once(names: Names) -> None:
    put_losses(names, "production", 1.5)
    told: list[dict[str, str]] = []

    def is_told() -> bool:
        told.extend(json.loads(message["Message"]) for message in received(names))
        return any(item["AlarmName"] == names.alarm("production", "degraded") for item in told)

    until(is_told)

    (alarm,) = [item for item in told if item["AlarmName"].endswith(("-degraded", "-quantile-loss"))]
    assert alarm["NewStateValue"] == "ALARM"
    assert "https://us-east-1.console.aws.amazon.com/cloudwatch/" in alarm["AlarmDescription"]
    assert "docs/runbook.md#degraded" in alarm["AlarmDescription"]


def put_losses(names: Names, stage: str, ratio: float) -> None:
    """What the monitor measures in the four newest periods, of ten seconds each."""
    dimensions = [{"Name": "Feed", "Value": names.feed}, {"Name": "Stage", "Value": stage}]
    data = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Timestamp": time.time() - age,
            "Value": value,
            "StorageResolution": 1,
        }
        for age in (0, 10, 20, 30)
        for name, value in (("QuantileLossRatio", ratio), ("QuantileLoss", ratio / 2), ("MissingMinutes", 0.0))
    ]
    aws.client("cloudwatch").put_metric_data(Namespace=names.metric_namespace, MetricData=data)


def test_holes_in_the_input_are_told_of_instead_of_the_loss_that_they_cause(names: Names) -> None:
    set_state(names.alarm("staging", "missing-minutes"), "ALARM")
    set_state(names.alarm("staging", "quantile-loss"), "ALARM")

    told = [json.loads(message["Message"])["AlarmName"] for message in received(names)]

    of_stage = [name for name in told if "-staging-" in name and not name.endswith("-monitor-silent")]
    assert of_stage == [names.alarm("staging", "missing-minutes")]


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
        told.extend(message["Message"] for message in received(names) if '"Model ' in message["Message"])
        return bool(told)

    until(is_told)

    (sentence,) = told
    assert sentence.startswith(
        f'"Model {names.prefix} version 1 is PendingManualApproval (Completed). Dashboard: https'
    )
    assert sentence.endswith('docs/runbook.md#model-packages"')


def test_an_endpoint_that_fails_is_told_of_and_its_way_there_is_not(stack: Stack) -> None:
    names = stack.names
    (rule,) = [item.spec for item in stack.resources() if item.name == names.endpoints_rule]
    event = {"source": "aws.sagemaker", "detail-type": "SageMaker Endpoint State Change", "account": ACCOUNT}
    event |= {"id": "1", "region": "us-east-1", "time": "2026-11-21T00:00:00Z", "resources": []}

    def matches(endpoint: str, status: str) -> bool:
        text = json.dumps({**event, "detail": {"EndpointName": endpoint, "EndpointStatus": status}})
        return bool(aws.client("events").test_event_pattern(EventPattern=rule["EventPattern"], Event=text)["Result"])

    assert matches(names.endpoint("staging"), "FAILED")
    assert matches(names.endpoint("production"), "IN_SERVICE")
    assert not matches(names.endpoint("staging"), "CREATING")
    assert not matches(f"{names.prefix}-eu-staging", "FAILED")
