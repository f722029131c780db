"""The offline store: every write is in Parquet, in the real store's layout, and Athena answers over it."""

from __future__ import annotations

import random
import re
from pathlib import Path

import boto3

from loopcast.aws import client
from tests.conftest import Service, free_port, kill, running
from tests.local.feature_store.conftest import BUCKET, Group, new_name, until


def keys(group: Group) -> list[str]:
    """The group's files, below its data folder."""
    uri = group.describe()["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
    prefix = uri.removeprefix(f"s3://{BUCKET}/") + "/"
    found = client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [item["Key"].removeprefix(prefix) for item in found]


def test_files_lie_under_their_hour_of_event_time(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:59:59.999Z")
    group.put(record_id="b", event_time="2026-11-21T11:00:00Z")
    group.put(record_id="c", event_time="2026-11-21T11:30:00Z")
    until(lambda: len(keys(group)) >= 2)
    ten, eleven = sorted(keys(group))[0], sorted(keys(group))[-1]
    assert re.fullmatch(r"year=2026/month=11/day=21/hour=10/20261121T105959Z_[0-9a-zA-Z]{16}\.parquet", ten)
    assert re.fullmatch(r"year=2026/month=11/day=21/hour=11/20261121T113000Z_[0-9a-zA-Z]{16}\.parquet", eleven)


def test_athena_answers_what_was_put_with_its_types(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z", count="9223372036854775807", mean="0.5")
    group.put(record_id="b", event_time="2026-11-21T11:00:00Z")
    columns = 'record_id, event_time, "count", mean, is_deleted, year, month, day, hour'
    partition = ("2026", "11", "21")
    expected = [
        ("a", "2026-11-21T10:00:00Z", "9223372036854775807", "0.5", "false", *partition, "10"),
        ("b", "2026-11-21T11:00:00Z", None, None, "false", *partition, "11"),
    ]
    until(lambda: group.query(f"SELECT {columns} FROM {{table}} ORDER BY record_id") == expected)


def test_athena_reads_a_partition_alone(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    group.put(record_id="b", event_time="2026-11-22T10:00:00Z")
    sql = "SELECT record_id FROM {table} WHERE year = '2026' AND day = '22'"
    until(lambda: group.query(sql) == [("b",)])


def test_partitions_are_in_the_catalog(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    catalog = group.describe()["OfflineStoreConfig"]["DataCatalogConfig"]
    names = {"DatabaseName": catalog["Database"], "TableName": catalog["TableName"]}
    until(lambda: bool(client("glue").get_partitions(**names)["Partitions"]))
    assert client("glue").get_partitions(**names)["Partitions"][0]["Values"] == ["2026", "11", "21", "10"]


def test_the_newest_write_wins_in_a_query_and_deletions_are_marked(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:00:00.001Z", count="2")
    group.put(record_id="a", event_time="2026-11-21T10:00:00.000Z", count="1")
    group.put(record_id="b", event_time="2026-11-21T10:00:00Z", count="3")
    group.delete_record("b", "2026-11-21T10:00:01Z")
    newest = """
        SELECT record_id, "count" FROM (
            SELECT *, row_number() OVER (
                PARTITION BY record_id ORDER BY event_time DESC, api_invocation_time DESC, write_time DESC) AS place
            FROM {table}) WHERE place = 1 AND NOT is_deleted"""
    until(lambda: group.query("SELECT count(*) FROM {table}") == [("4",)])
    assert group.query(newest) == [("a", "2")]


def test_both_stores_agree_with_each_other_whatever_order_records_come_in(group: Group) -> None:
    chance = random.Random(1)
    newest: dict[str, tuple[str, str]] = {}
    for count in range(150):
        record_id = f"a#{chance.randrange(10)}"
        event_time = f"2026-11-{chance.randrange(1, 29):02d}T{chance.randrange(24):02d}:00:00.{count:03d}Z"
        group.put(record_id=record_id, event_time=event_time, count=str(count))
        newest[record_id] = max(newest.get(record_id, ("", "")), (event_time, str(count)))
    sql = """SELECT record_id, max(event_time), max_by("count", event_time) FROM {table} GROUP BY 1 ORDER BY 1"""
    until(lambda: group.query("SELECT count(*) FROM {table}") == [("150",)])
    assert group.query(sql) == [(record_id, *newest[record_id]) for record_id in sorted(newest)]
    for record_id, (event_time, value) in newest.items():
        assert group.get(record_id) == {"record_id": record_id, "event_time": event_time, "count": value}


def test_a_later_batch_of_an_hour_leaves_the_earlier_one(group: Group) -> None:
    for count in range(1, 4):
        group.put(record_id="a", event_time="2026-11-21T10:00:00Z", count=str(count))
        until(lambda count=count: group.query("SELECT count(*) FROM {table}") == [(str(count),)])
    assert len(keys(group)) == 3


def test_a_group_without_a_table_still_has_its_files(sagemaker: Service, bucket: str) -> None:
    storage = {"S3StorageConfig": {"S3Uri": f"s3://{BUCKET}/offline"}, "DisableGlueTableCreation": True}
    group = Group(new_name()).create(OfflineStoreConfig=storage)
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    until(lambda: len(keys(group)) == 1)
    assert "DataCatalogConfig" not in group.describe()["OfflineStoreConfig"]


def test_a_bucket_that_is_not_there_blocks_the_offline_store_and_loses_nothing(sagemaker: Service, bucket: str) -> None:
    storage = {"S3StorageConfig": {"S3Uri": "s3://not-yet-there"}}
    group = Group(new_name()).create(OfflineStoreConfig=storage)
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    until(lambda: group.describe()["OfflineStoreStatus"]["Status"] == "Blocked")
    client("s3").create_bucket(Bucket="not-yet-there")
    until(lambda: group.describe()["OfflineStoreStatus"]["Status"] == "Active")
    assert group.query("SELECT record_id FROM {table}") == [("a",)]


def test_nothing_is_lost_or_doubled_when_the_server_is_killed(aws: Service, bucket: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    group = Group(new_name(), url)
    with running("local.sagemaker", url, tmp_path) as server:
        group.create()
        for minute in range(60):
            group.put(record_id=f"a#{minute}", event_time=f"2026-11-21T10:{minute:02d}:00Z", count=str(minute))
        kill(server)
    with running("local.sagemaker", url, tmp_path):
        assert group.get("a#59") == {"record_id": "a#59", "event_time": "2026-11-21T10:59:00Z", "count": "59"}
        until(lambda: group.query("SELECT count(*), count(DISTINCT record_id) FROM {table}") == [("60", "60")])


def test_what_waits_is_written_when_the_server_stops(aws: Service, bucket: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    group = Group(new_name(), url)
    with running("local.sagemaker", url, tmp_path):
        group.create()
        uri = group.describe()["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
        group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    prefix = uri.removeprefix(f"s3://{BUCKET}/")
    assert boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"] == 1
