"""Kinesis's data plane: what is put is read, in order, from where one asks, and outlives the process."""

from __future__ import annotations

import itertools
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
from botocore.exceptions import ClientError

from loopcast.aws import client
from tests.conftest import Service

_names = itertools.count()


@pytest.fixture
def stream(aws: Service) -> Iterator[str]:
    name = f"stream-{next(_names)}"
    client("kinesis").create_stream(StreamName=name, ShardCount=1)
    yield name
    client("kinesis").delete_stream(StreamName=name)


def put(stream: str, *data: bytes) -> list[str]:
    entries = [{"Data": item, "PartitionKey": "key"} for item in data]
    return [
        entry["SequenceNumber"]
        for entry in client("kinesis").put_records(StreamName=stream, Records=entries)["Records"]
    ]


def iterator(stream: str, **start: Any) -> str:
    shard = client("kinesis").list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    return str(client("kinesis").get_shard_iterator(StreamName=stream, ShardId=shard, **start)["ShardIterator"])


def read(stream: str, **start: Any) -> list[bytes]:
    records = client("kinesis").get_records(ShardIterator=iterator(stream, **start))["Records"]
    return [record["Data"] for record in records]


def test_records_are_read_in_the_order_they_were_put(stream: str) -> None:
    put(stream, b"one", b"two")
    put(stream, b"three")
    assert read(stream, ShardIteratorType="TRIM_HORIZON") == [b"one", b"two", b"three"]


def test_a_reader_starts_at_or_after_a_sequence_number(stream: str) -> None:
    numbers = put(stream, b"one", b"two", b"three")
    assert numbers == sorted(numbers)
    at = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[1]}
    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[1]}
    assert read(stream, **at) == [b"two", b"three"]
    assert read(stream, **after) == [b"three"]


def test_a_reader_starts_at_a_shards_first_sequence_number(stream: str) -> None:
    put(stream, b"one")
    shard = client("kinesis").list_shards(StreamName=stream)["Shards"][0]
    first = shard["SequenceNumberRange"]["StartingSequenceNumber"]
    assert read(stream, ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=first) == [b"one"]


def test_a_reader_of_the_latest_sees_only_what_comes_after(stream: str) -> None:
    put(stream, b"before")
    latest = iterator(stream, ShardIteratorType="LATEST")
    put(stream, b"after")
    assert [record["Data"] for record in client("kinesis").get_records(ShardIterator=latest)["Records"]] == [b"after"]


def test_a_reader_starts_at_a_time(stream: str) -> None:
    put(stream, b"before")
    time.sleep(0.01)  # arrival times are in milliseconds
    now = time.time()
    time.sleep(0.01)
    put(stream, b"after")
    assert read(stream, ShardIteratorType="AT_TIMESTAMP", Timestamp=now) == [b"after"]


def test_an_iterator_goes_on_where_the_last_answer_ended(stream: str) -> None:
    put(stream, b"one", b"two", b"three")
    first = client("kinesis").get_records(ShardIterator=iterator(stream, ShardIteratorType="TRIM_HORIZON"), Limit=2)
    second = client("kinesis").get_records(ShardIterator=first["NextShardIterator"])
    assert first["MillisBehindLatest"] >= 0
    assert [record["Data"] for record in second["Records"]] == [b"three"]


def test_an_answer_holds_at_most_ten_megabytes(stream: str) -> None:
    body = bytes(2**20)
    for _ in range(3):
        put(stream, *[body[:-3]] * 4)
    found = client("kinesis").get_records(ShardIterator=iterator(stream, ShardIteratorType="TRIM_HORIZON"))
    assert len(found["Records"]) == 10
    assert len(client("kinesis").get_records(ShardIterator=found["NextShardIterator"])["Records"]) == 2


def test_a_put_of_more_than_five_megabytes_is_refused(stream: str) -> None:
    with pytest.raises(ClientError, match="5 MB"):
        put(stream, *[bytes(2**20)] * 5)


def test_a_stream_that_was_made_again_is_empty(aws: Service) -> None:
    kinesis = client("kinesis")
    for _ in range(2):
        kinesis.create_stream(StreamName="again", ShardCount=1)
        assert read("again", ShardIteratorType="TRIM_HORIZON") == []
        put("again", b"old")
        kinesis.delete_stream(StreamName="again")


def test_what_cannot_be_done_says_so_by_name(stream: str) -> None:
    with pytest.raises(ClientError, match=r"local\.aws lacks Kinesis's UpdateShardCount"):
        client("kinesis").update_shard_count(StreamName=stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING")


def test_an_iterator_that_is_none_is_refused(stream: str) -> None:
    with pytest.raises(client("kinesis").exceptions.InvalidArgumentException):
        client("kinesis").get_records(ShardIterator="none")


def test_the_java_sdk_gets_binary_data_and_milliseconds(aws: Service, stream: str) -> None:
    def call(operation: str, content: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/x-amz-cbor-1.1",
            "X-Amz-Target": f"Kinesis_20131202.{operation}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request",
        }
        request = urllib.request.Request(aws.endpoint, cbor2.dumps(content), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(cbor2.loads(answer.read()))

    since = int(time.time() * 1000) - 1000
    put_answer = call("PutRecord", {"StreamName": stream, "PartitionKey": "k", "Data": b"\x00\xc1\x1b\xff"})
    start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": cbor2.CBORTag(1, since)}
    found = call("GetShardIterator", {"StreamName": stream, "ShardId": put_answer["ShardId"], **start})
    record = call("GetRecords", found)["Records"][0]
    assert record["Data"] == b"\x00\xc1\x1b\xff"
    assert since <= record["ApproximateArrivalTimestamp"] <= since + 60_000
