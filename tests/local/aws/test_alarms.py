"""Alarms on the real local AWS: by their own metric, M out of N, with composites, notifications and events."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from loopcast.aws import client
from tests.conftest import Service, free_port, kill, running
from tests.local.aws.waiting import in_snapshot, until

pytestmark = pytest.mark.usefixtures("aws")

TOPIC = "arn:aws:sns:us-east-1:000000000000:{}"


def put_losses(name: str, losses: list[float | None], period: int = 60, stage: str = "staging") -> None:
    """Puts a data point into each of the newest whole periods, the newest last."""
    end = time.time() // 60 * 60
    dimensions = [{"Name": "Feed", "Value": name}, {"Name": "Stage", "Value": stage}]
    data = [
        {
            "MetricName": "QuantileLossRatio",
            "Dimensions": dimensions,
            "Timestamp": end - (age + 0.5) * period,
            "Value": loss,
            "StorageResolution": 1,
        }
        for age, loss in enumerate(reversed(losses))
        if loss is not None
    ]
    client("cloudwatch").put_metric_data(Namespace="Loopcast", MetricData=data)


def put_alarm(name: str, **settings: Any) -> str:
    """Puts an alarm on the losses of `name`, which is evaluated at once; returns its state."""
    asked = {
        "AlarmName": name,
        "AlarmDescription": "Worse than it may be",
        "Namespace": "Loopcast",
        "MetricName": "QuantileLossRatio",
        "Dimensions": [{"Name": "Feed", "Value": name}, {"Name": "Stage", "Value": "staging"}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "ignore",
    }
    client("cloudwatch").put_metric_alarm(**(asked | settings))
    return state(name)


def state(name: str) -> str:
    (alarm,) = client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(alarm["StateValue"])


def composite_state(name: str) -> str:
    cloudwatch = client("cloudwatch")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return str(alarm["StateValue"])


def make_topic(name: str) -> str:
    """A topic with a queue that gets what is published; returns the queue's URL."""
    queue = client("sqs").create_queue(QueueName=name)["QueueUrl"]
    client("sns").create_topic(Name=name)
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    client("sns").subscribe(TopicArn=TOPIC.format(name), Protocol="sqs", Endpoint=arn)
    return str(queue)


def received(queue: str) -> list[dict[str, Any]]:
    messages = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def test_an_alarm_needs_as_many_breaches_as_it_states() -> None:
    put_losses("needs-two", [0.5, 0.5, 1.5])
    assert put_alarm("needs-two") == "OK"

    put_losses("needs-two-more", [0.5, 1.5, 1.5])
    assert put_alarm("needs-two-more") == "ALARM"


def test_an_alarm_sees_its_own_dimensions_only() -> None:
    put_losses("own", [0.5, 0.5, 0.5])
    put_losses("own", [9, 9, 9], stage="production")
    put_losses("other", [9, 9, 9])

    assert put_alarm("own") == "OK"


def test_silence_keeps_the_state_or_alarms_as_is_stated() -> None:
    put_losses("silent", [1.5, 1.5])
    assert put_alarm("silent") == "ALARM"
    cloudwatch = client("cloudwatch")

    # Nothing comes of another feed: its alarms stay as they are, or tell of the silence.
    assert put_alarm("never") == "INSUFFICIENT_DATA"
    assert put_alarm("never-at-all", TreatMissingData="breaching") == "ALARM"
    cloudwatch.set_alarm_state(AlarmName="never", StateValue="ALARM", StateReason="test")
    assert put_alarm("never") == "ALARM"


def test_the_clock_evaluates_short_periods_without_new_data() -> None:
    now = time.time()
    data = [
        {
            "MetricName": "QuantileLossRatio",
            "Dimensions": [{"Name": "Feed", "Value": "short"}, {"Name": "Stage", "Value": "staging"}],
            "Timestamp": now - age,
            "Value": 1.5,
            "StorageResolution": 1,
        }
        for age in (0, 10)
    ]
    assert put_alarm("short", Period=10) == "INSUFFICIENT_DATA"
    client("cloudwatch").put_metric_data(Namespace="Loopcast", MetricData=data)

    until(lambda: state("short") == "ALARM")


def test_a_composite_follows_its_children_and_what_it_is_not_made_of() -> None:
    cloudwatch = client("cloudwatch")
    for name in ("c-loss", "c-holes"):
        put_alarm(name)
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
    cloudwatch.put_composite_alarm(AlarmName="c-degraded", AlarmRule='ALARM("c-loss") AND NOT ALARM("c-holes")')
    assert composite_state("c-degraded") == "OK"

    for child, value, wanted in [
        ("c-loss", "ALARM", "ALARM"),
        ("c-holes", "ALARM", "OK"),
        ("c-holes", "OK", "ALARM"),
        ("c-loss", "OK", "OK"),
    ]:
        cloudwatch.set_alarm_state(AlarmName=child, StateValue=value, StateReason="test")
        assert composite_state("c-degraded") == wanted


def test_a_composite_tells_its_topic_once_for_each_transition() -> None:
    queue = make_topic("told")
    cloudwatch = client("cloudwatch")
    put_alarm("told-loss")
    cloudwatch.put_composite_alarm(
        AlarmName="told-degraded",
        AlarmDescription="Worse. Dashboard: https://example.org",
        AlarmRule='ALARM("told-loss")',
        AlarmActions=[TOPIC.format("told")],
        OKActions=[TOPIC.format("told")],
    )
    received(queue)
    put_losses("told-loss", [1.5, 1.5, 1.5])

    put_alarm("told-loss")
    put_alarm("told-loss")

    (message,) = received(queue)
    told = json.loads(message["Message"])
    assert (told["AlarmName"], told["OldStateValue"], told["NewStateValue"]) == ("told-degraded", "OK", "ALARM")
    assert told["AlarmDescription"] == "Worse. Dashboard: https://example.org"
    assert message["Subject"].startswith('ALARM: "told-degraded"')


def test_every_change_of_state_is_an_event_on_the_default_bus() -> None:
    queue = make_topic("events")
    events = client("events")
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [{"prefix": "events-"}]}}
    events.put_rule(Name="alarm-events", EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"name": "$.detail.alarmName", "state": "$.detail.state.value"},
        "InputTemplate": '"<name> is <state>"',
    }
    target = {"Id": "topic", "Arn": TOPIC.format("events"), "InputTransformer": transformer}
    events.put_targets(Rule="alarm-events", Targets=[target])
    put_losses("events-loss", [1.5, 1.5, 1.5])
    put_alarm("events-loss")
    client("cloudwatch").put_composite_alarm(AlarmName="events-degraded", AlarmRule='ALARM("events-loss")')

    client("cloudwatch").set_alarm_state(AlarmName="events-loss", StateValue="OK", StateReason="test")

    assert sorted(message["Message"] for message in received(queue)) == [
        '"events-degraded is ALARM"',
        '"events-degraded is OK"',
        '"events-loss is ALARM"',
        '"events-loss is OK"',
    ]


def test_the_newest_value_of_a_metric_comes_first_unless_the_oldest_is_asked_for() -> None:
    put_losses("order", [1, 2, 3])
    metric = {
        "Namespace": "Loopcast",
        "MetricName": "QuantileLossRatio",
        "Dimensions": [{"Name": "Feed", "Value": "order"}, {"Name": "Stage", "Value": "staging"}],
    }
    query = {"Id": "loss", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}}
    asked = {"MetricDataQueries": [query], "StartTime": time.time() - 3600, "EndTime": time.time()}
    cloudwatch = client("cloudwatch")

    newest = cloudwatch.get_metric_data(**asked)["MetricDataResults"][0]
    oldest = cloudwatch.get_metric_data(**asked, ScanBy="TimestampAscending")["MetricDataResults"][0]

    assert (newest["Values"], oldest["Values"]) == ([3, 2, 1], [1, 2, 3])
    assert newest["Timestamps"] == sorted(oldest["Timestamps"], reverse=True)


def test_nobody_else_publishes_events_of_aws() -> None:
    entry = {"Source": "aws.cloudwatch", "DetailType": "CloudWatch Alarm State Change", "Detail": "{}"}
    (answer,) = client("events").put_events(Entries=[entry])["Entries"]
    assert answer["ErrorCode"] == "NotAuthorizedForSourceException"


@pytest.mark.parametrize("settings", [{"Period": 45}, {"DatapointsToAlarm": 4}, {"EvaluationPeriods": 1500}])
def test_an_alarm_that_cloudwatch_refuses_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        put_alarm("refused", **settings)


def test_an_alarms_state_outlives_a_killed_server(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    cloudwatch = boto3.client("cloudwatch", endpoint_url=endpoint)
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "3600") as server:
        cloudwatch.put_metric_alarm(
            AlarmName="kept",
            Namespace="Loopcast",
            MetricName="Loss",
            Statistic="Average",
            Period=60,
            EvaluationPeriods=3,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        until(lambda: in_snapshot(tmp_path, "cloudwatch", "kept"))
        cloudwatch.set_alarm_state(AlarmName="kept", StateValue="ALARM", StateReason="seen-before")
        until(lambda: in_snapshot(tmp_path, "cloudwatch", "seen-before"))
        kill(server)
    with running("local.aws", endpoint, tmp_path):
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=["kept"])["MetricAlarms"]
        assert (alarm["StateValue"], alarm["StateReason"]) == ("ALARM", "seen-before")
