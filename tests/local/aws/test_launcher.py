"""The launcher: one port of this machine, a clear refusal, and state that outlives the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from local.aws.server import changes_resources
from local.aws.snapshots import Snapshots
from loopcast.aws import client
from tests.conftest import Service, free_port, kill, running
from tests.local.aws.waiting import in_snapshot, until


def test_a_client_without_settings_of_its_own_reaches_the_local_aws(aws: Service) -> None:
    client("s3").create_bucket(Bucket="reached")
    client("s3").put_object(Bucket="reached", Key="a/b", Body=b"c")
    assert client("s3").get_object(Bucket="reached", Key="a/b")["Body"].read() == b"c"


def test_a_port_in_use_is_one_clear_sentence(aws: Service, tmp_path: Path) -> None:
    port = aws.endpoint.rpartition(":")[2]
    command = [sys.executable, "-m", "local.aws", "--port", port, "--state", str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0
    assert f"can't listen on 127.0.0.1:{port}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_stopped_server_comes_back_with_all_it_had(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "3600") as server:
        fill(endpoint)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    with running("local.aws", endpoint, tmp_path):
        assert content(endpoint) == FILLED


def test_a_server_that_stops_amid_a_snapshot_loses_nothing(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    sqs = clients(endpoint)[3]
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "0.001"):
        url = sqs.create_queue(QueueName="big")["QueueUrl"]
        for _ in range(40):  # 10 MB, so that a snapshot takes a while
            sqs.send_message(QueueUrl=url, MessageBody="x" * 250_000)
    with running("local.aws", endpoint, tmp_path):
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        assert found["Attributes"]["ApproximateNumberOfMessages"] == "40"


def test_a_killed_server_comes_back_with_its_last_snapshot(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "0.2") as server:
        fill(endpoint)
        until(lambda: in_snapshot(tmp_path, "sqs", "queue"))  # which is made last
        kill(server)
    with running("local.aws", endpoint, tmp_path):
        assert content(endpoint) == FILLED


def test_a_new_resource_is_soon_in_a_snapshot(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "3600") as server:
        fill(endpoint)
        until(lambda: in_snapshot(tmp_path, "sqs", "queue"))  # which is made last
        kill(server)
    with running("local.aws", endpoint, tmp_path):
        assert content(endpoint)["queues"] == 1


def test_a_killed_server_leaves_its_port_free_at_once(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    for _ in range(3):
        with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "0.01") as server:
            kill(server)


def test_a_value_that_json_lacks_does_not_cost_the_snapshot(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.write({"athena": lambda: {"rows": [[datetime(2026, 11, 21, tzinfo=UTC)]]}, "ssm": lambda: {}})
    assert sorted(file.name for file in snapshots.newest().iterdir()) == ["athena.json", "ssm.json"]


def test_only_the_newest_snapshot_is_kept(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    (tmp_path / "partial-1").mkdir()  # of a process that was killed
    for number in range(3):
        snapshots.write({"ssm": lambda number=number: {"number": number}})
    assert [path.name for path in tmp_path.iterdir()] == [snapshots.newest().name]
    assert json.loads((snapshots.newest() / "ssm.json").read_text())["payload"] == {"number": 2}


def test_requests_that_change_resources_are_told_from_those_that_change_data() -> None:
    def changes(target: str) -> bool:
        return changes_resources({"headers": [(b"x-amz-target", target.encode())], "method": "POST", "path": "/"})

    assert all(map(changes, ["AmazonSQS.CreateQueue", "AWSEvents.CreateEventBus", "AWSEvents.PutRule"]))
    assert changes("Kinesis_20131202.DeleteStream")
    data = [
        "DynamoDB_20120810.PutItem",
        "Kinesis_20131202.PutRecords",
        "AmazonSQS.DeleteMessage",
        "AWSEvents.PutEvents",
    ]
    assert not any(map(changes, data))
    assert changes_resources({"headers": [], "method": "PUT", "path": "/bucket"})
    assert not changes_resources({"headers": [], "method": "PUT", "path": "/bucket/key"})
    cloudwatch = {"headers": [], "method": "POST", "path": "/service/GraniteServiceVersion20100801/operation/"}
    assert changes_resources(cloudwatch | {"path": cloudwatch["path"] + "PutMetricAlarm"})
    assert not changes_resources(cloudwatch | {"path": cloudwatch["path"] + "PutMetricData"})
    form = (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")
    assert changes_resources({"headers": [form], "method": "POST", "path": "/"})  # IAM's


def test_the_server_tells_its_health_and_its_metrics(aws: Service) -> None:
    for path, word in (("healthz", "ok"), ("readyz", "ok"), ("metrics", "aws_snapshot_seconds")):
        with urllib.request.urlopen(f"{aws.endpoint}/{path}", timeout=10) as answer:
            assert word in answer.read().decode()


FILLED = {"object": b"body", "empty bucket": True, "item": "2", "records": [b"data"], "queues": 1, "parameter": "3"}


def fill(endpoint: str) -> None:
    s3, dynamodb, kinesis, sqs, ssm = clients(endpoint)
    s3.create_bucket(Bucket="bucket")
    s3.create_bucket(Bucket="empty")
    s3.put_object(Bucket="bucket", Key="a/key", Body=b"body")
    dynamodb.create_table(
        TableName="table",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="table", Item={"id": {"S": "1"}, "value": {"N": "2"}})
    kinesis.create_stream(StreamName="stream", ShardCount=1)
    kinesis.put_record(StreamName="stream", PartitionKey="key", Data=b"data")
    ssm.put_parameter(Name="/a/parameter", Value="3", Type="String")
    sqs.create_queue(QueueName="queue")


def content(endpoint: str) -> dict[str, Any]:
    s3, dynamodb, kinesis, sqs, ssm = clients(endpoint)
    shard = kinesis.list_shards(StreamName="stream")["Shards"][0]["ShardId"]
    start = kinesis.get_shard_iterator(StreamName="stream", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return {
        "object": s3.get_object(Bucket="bucket", Key="a/key")["Body"].read(),
        "empty bucket": "empty" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]],
        "item": dynamodb.get_item(TableName="table", Key={"id": {"S": "1"}})["Item"]["value"]["N"],
        "records": [item["Data"] for item in kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]],
        "queues": len(sqs.list_queues()["QueueUrls"]),
        "parameter": ssm.get_parameter(Name="/a/parameter")["Parameter"]["Value"],
    }


def clients(endpoint: str) -> list[Any]:
    return [boto3.client(name, endpoint_url=endpoint) for name in ("s3", "dynamodb", "kinesis", "sqs", "ssm")]
