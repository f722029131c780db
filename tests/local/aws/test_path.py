"""What our path asks of the other services, at the sizes and in the order it asks it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ministack.services import eventbridge as ministack_eventbridge

from local.aws import eventbridge
from loopcast.aws import client
from tests.conftest import Service
from tests.local.aws.waiting import until

ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def queue(aws: Service) -> str:
    """The URL of a queue that the bus `path` fills with what matches the rule."""
    url = client("sqs").create_queue(QueueName="path", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    events = client("events")
    events.create_event_bus(Name="path")
    pattern = json.dumps({"source": ["loopcast.poller"], "detail-type": ["events"]})
    events.put_rule(Name="path", EventBusName="path", EventPattern=pattern)
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:path"}
    events.put_targets(Rule="path", EventBusName="path", Targets=[target])
    return url


def publish(*details: dict[str, Any], source: str = "loopcast.poller") -> dict[str, Any]:
    entries = [
        {"EventBusName": "path", "Source": source, "DetailType": "events", "Detail": json.dumps(detail)}
        for detail in details
    ]
    return dict(client("events").put_events(Entries=entries))


def receive(url: str, wanted: int) -> list[dict[str, Any]]:
    """The bodies of `wanted` messages, which are deleted."""
    found: list[dict[str, Any]] = []

    def has_come() -> bool:
        answer = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            found.append(json.loads(message["Body"]))
            client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found) >= wanted

    until(has_come)
    return found


def test_an_event_of_nearly_256_kb_goes_from_the_bus_to_the_queue_unchanged(queue: str) -> None:
    detail = {"feed": "a", "events": [{"text": "ü" * 1000} for _ in range(128)]}
    assert 245_000 < len(json.dumps(detail, ensure_ascii=False).encode()) < 256 * 1024
    entry = {"EventBusName": "path", "Source": "loopcast.poller", "DetailType": "events"}
    answer = client("events").put_events(Entries=[entry | {"Detail": json.dumps(detail, ensure_ascii=False)}])
    assert answer["FailedEntryCount"] == 0
    (body,) = receive(queue, 1)
    assert body["detail"] == detail
    assert (body["source"], body["detail-type"]) == ("loopcast.poller", "events")


def test_only_what_matches_the_rule_is_queued(queue: str) -> None:
    publish({"n": 1}, source="another")
    publish({"n": 2})
    assert [body["detail"] for body in receive(queue, 1)] == [{"n": 2}]


def test_published_events_are_not_kept() -> None:
    eventbridge.install()
    entry = {"Source": "loopcast.poller", "DetailType": "events", "Detail": "{}"}
    status, _, _ = ministack_eventbridge._put_events({"Entries": [entry]})
    assert status == 200
    assert not ministack_eventbridge._events_log_list()


def test_a_message_that_is_not_deleted_comes_again(queue: str) -> None:
    publish({"n": 3})
    first = client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]
    (again,) = receive(queue, 1)
    assert again == json.loads(first["Body"])


def test_an_item_is_claimed_once(aws: Service) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="claims",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    claim = {
        "TableName": "claims",
        "Item": {"id": {"S": "a"}, "expires": {"N": "10"}},
        "ConditionExpression": "attribute_not_exists(id) OR expires <= :now",
    }
    dynamodb.put_item(**claim, ExpressionAttributeValues={":now": {"N": "0"}})
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(**claim, ExpressionAttributeValues={":now": {"N": "9"}})
    dynamodb.put_item(**claim, ExpressionAttributeValues={":now": {"N": "10"}})


def test_items_are_written_and_read_in_batches(aws: Service) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="batches",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    keys = [{"id": {"S": str(number)}} for number in range(100)]
    for start in range(0, 100, 25):
        puts = [{"PutRequest": {"Item": key | {"v": {"N": "1"}}}} for key in keys[start : start + 25]]
        assert dynamodb.batch_write_item(RequestItems={"batches": puts})["UnprocessedItems"] == {}
    answer = dynamodb.batch_get_item(RequestItems={"batches": {"Keys": keys, "ConsistentRead": True}})
    assert len(answer["Responses"]["batches"]) == 100
    with pytest.raises(ClientError, match="100"):
        dynamodb.batch_get_item(RequestItems={"batches": {"Keys": [*keys, {"id": {"S": "one more"}}]}})


def test_metrics_are_summed_over_a_period(aws: Service) -> None:
    cloudwatch = client("cloudwatch")
    now = int(time.time()) // 60 * 60
    dimensions = [{"Name": "Feed", "Value": "a"}]
    for value in (1.0, 2.5):
        point = {"MetricName": "Bytes", "Dimensions": dimensions, "Timestamp": now, "Value": value, "Unit": "Bytes"}
        cloudwatch.put_metric_data(Namespace="Path", MetricData=[point])
    metric = {"Namespace": "Path", "MetricName": "Bytes", "Dimensions": dimensions}
    query = {"Id": "bytes", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    found = cloudwatch.get_metric_data(MetricDataQueries=[query], StartTime=now - 60, EndTime=now + 60)
    assert found["MetricDataResults"][0]["Values"] == [3.5]


def test_a_parameter_is_made_only_when_absent(aws: Service) -> None:
    ssm = client("ssm")
    ssm.put_parameter(Name="/path/threshold", Value="1", Type="String")
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name="/path/threshold", Value="2", Type="String")
    found = ssm.get_parameters_by_path(Path="/path/", Recursive=True)["Parameters"]
    assert [(item["Name"], item["Value"]) for item in found] == [("/path/threshold", "1")]
