"""Firehose: records gather by size and time into gzip objects of one event a line, each at least once."""

from __future__ import annotations

import gzip
import itertools
import os
import re
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import Service, environment, free_port, kill, running
from tests.local.aws.waiting import in_snapshot, until

_names = itertools.count()
ONE_EVENT_A_LINE = {
    "Enabled": True,
    "Processors": [
        {"Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}]}
    ],
}


class Archive:
    """A bucket, and a delivery stream into it, with a Kinesis stream before it or none."""

    def __init__(self, endpoint: str, from_kinesis: bool = True, **settings: Any) -> None:
        self._endpoint = endpoint
        self.name = f"archive-{os.getpid()}-{next(_names)}"
        self.s3, self.kinesis, self.firehose = (self._client(name) for name in ("s3", "kinesis", "firehose"))
        self.s3.create_bucket(Bucket=self.name)
        source = self._kinesis_source() if from_kinesis else {}
        destination = {
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": f"arn:aws:s3:::{self.name}",
            "Prefix": "raw/",
            "CompressionFormat": "GZIP",
            "ProcessingConfiguration": ONE_EVENT_A_LINE,
        }
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.name, ExtendedS3DestinationConfiguration=destination | settings, **source
        )

    def put(self, *data: bytes) -> None:
        entries = [{"Data": item, "PartitionKey": str(number)} for number, item in enumerate(data)]
        self.kinesis.put_records(StreamName=self.name, Records=entries)

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def lines(self) -> list[bytes]:
        bodies = [self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in self.keys()]
        return [line for body in bodies for line in gzip.decompress(body).splitlines()]

    def _kinesis_source(self) -> dict[str, Any]:
        self.kinesis.create_stream(StreamName=self.name, ShardCount=2)
        source = {
            "KinesisStreamARN": f"arn:aws:kinesis:us-east-1:000000000000:stream/{self.name}",
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
        }
        return {"DeliveryStreamType": "KinesisStreamAsSource", "KinesisStreamSourceConfiguration": source}

    def _client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self._endpoint)


def hints(seconds: int, megabytes: int = 5) -> dict[str, dict[str, int]]:
    return {"BufferingHints": {"IntervalInSeconds": seconds, "SizeInMBs": megabytes}}


def test_records_of_all_shards_gather_for_the_interval_into_one_object(aws: Service) -> None:
    archive = Archive(aws.endpoint, **hints(seconds=2))
    events = [f'{{"n":{number}}}'.encode() for number in range(50)]
    archive.put(*events[:25])
    archive.put(*events[25:])
    until(lambda: bool(archive.keys()))
    assert sorted(archive.lines()) == sorted(events)
    assert len(archive.keys()) == 1


def test_an_objects_key_is_as_firehose_names_it(aws: Service) -> None:
    archive = Archive(aws.endpoint, **hints(seconds=0))
    archive.put(b"{}")
    until(lambda: bool(archive.keys()))
    moment = r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d"
    key = rf"raw/\d{{4}}/\d\d/\d\d/\d\d/{archive.name}-1-{moment}-[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\.gz"
    assert re.fullmatch(key, archive.keys()[0])


def test_a_full_buffer_is_delivered_before_its_interval_has_passed(aws: Service) -> None:
    archive = Archive(aws.endpoint, **hints(seconds=900, megabytes=1))
    for _ in range(3):
        archive.put(*[b"x" * 100_000] * 5)
    until(lambda: bool(archive.keys()))
    assert len(archive.lines()) == 11  # the first to fill a megabyte; the rest still waits


def test_without_the_delimiter_records_are_joined_as_they_are(aws: Service) -> None:
    archive = Archive(aws.endpoint, **hints(seconds=0), ProcessingConfiguration={"Enabled": False})
    archive.put(b"one\n")
    archive.put(b"two\n")
    until(lambda: sorted(archive.lines()) == [b"one", b"two"])


def test_records_put_directly_are_buffered_and_delivered_too(aws: Service) -> None:
    archive = Archive(aws.endpoint, from_kinesis=False, **hints(seconds=1))
    answer = archive.firehose.put_record_batch(
        DeliveryStreamName=archive.name, Records=[{"Data": b"one"}, {"Data": b"two"}]
    )
    archive.firehose.put_record(DeliveryStreamName=archive.name, Record={"Data": b"three"})
    assert answer["FailedPutCount"] == 0
    until(lambda: archive.lines() == [b"one", b"two", b"three"])


def test_what_was_put_before_the_delivery_stream_was_made_is_not_its_own(aws: Service) -> None:
    kinesis = boto3.client("kinesis", endpoint_url=aws.endpoint)
    archive = Archive(aws.endpoint, **hints(seconds=1))
    archive.firehose.delete_delivery_stream(DeliveryStreamName=archive.name)
    kinesis.put_record(StreamName=archive.name, PartitionKey="k", Data=b"before")
    time.sleep(0.01)  # arrival times are in milliseconds
    archive.firehose.create_delivery_stream(
        DeliveryStreamName=archive.name,
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={
            "KinesisStreamARN": f"arn:aws:kinesis:us-east-1:000000000000:stream/{archive.name}",
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
        },
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": f"arn:aws:s3:::{archive.name}",
            "CompressionFormat": "GZIP",
            **hints(seconds=0),
        },
    )
    archive.put(b"after")
    until(lambda: bool(archive.keys()))
    assert archive.lines() == [b"after"]


def test_delivered_records_are_counted_in_cloudwatch(aws: Service) -> None:
    archive = Archive(aws.endpoint, **hints(seconds=0))
    archive.put(b"one", b"two")
    until(lambda: len(archive.lines()) == 2)
    dimensions = [{"Name": "DeliveryStreamName", "Value": archive.name}]
    found = boto3.client("cloudwatch", endpoint_url=aws.endpoint).get_metric_statistics(
        Namespace="AWS/Firehose",
        MetricName="DeliveryToS3.Records",
        Dimensions=dimensions,
        StartTime=time.time() - 600,
        EndTime=time.time() + 600,
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in found["Datapoints"]) == 2


@pytest.mark.parametrize(
    ("settings", "feature"),
    [
        ({"DynamicPartitioningConfiguration": {"Enabled": True}}, "DynamicPartitioningConfiguration"),
        ({"CompressionFormat": "ZIP"}, "CompressionFormat ZIP"),
        ({"ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "Lambda"}]}}, "processor Lambda"),
    ],
)
def test_what_cannot_be_done_says_so_by_name(aws: Service, settings: dict[str, Any], feature: str) -> None:
    with pytest.raises(ClientError, match=f"local.aws lacks Firehose's {feature}"):
        Archive(aws.endpoint, **settings)


def test_nothing_is_lost_when_the_server_is_killed_again_and_again(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    events = [f"event {number}".encode() for number in range(300)]
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "0.2") as server:
        archive = Archive(endpoint, **hints(seconds=1))
        until(lambda: in_snapshot(tmp_path, "firehose", archive.name))
        archive.put(*events[:100])
        until(lambda: bool(archive.keys()))
        archive.put(*events[100:200])
        kill(server)
    with running("local.aws", endpoint, tmp_path, "--snapshot-interval", "3600") as server:
        archive.put(*events[200:])
        kill(server)
    with running("local.aws", endpoint, tmp_path):
        until(lambda: set(archive.lines()) == set(events))


def test_the_interval_keeps_up_with_a_speed_up(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with environment({"LOOPCAST_SPEED": "600"}), running("local.aws", endpoint, tmp_path):
        archive = Archive(endpoint, **hints(seconds=900))
        archive.put(b"one")
        until(lambda: archive.lines() == [b"one"])
