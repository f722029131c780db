"""Feature groups on a real local SageMaker beside a real local AWS."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from loopcast.aws import client
from tests.conftest import Service

BUCKET = "feature-store"
DEFINITIONS = [
    {"FeatureName": "record_id", "FeatureType": "String"},
    {"FeatureName": "event_time", "FeatureType": "String"},
    {"FeatureName": "count", "FeatureType": "Integral"},
    {"FeatureName": "mean", "FeatureType": "Fractional"},
]
_numbers = itertools.count()


class Group:
    """A feature group; `url` is of the SageMaker that has it, the environment's when None."""

    def __init__(self, name: str, url: str | None = None) -> None:
        self.name = name
        self.sagemaker = boto3.client("sagemaker", endpoint_url=url)
        self.runtime = boto3.client("sagemaker-featurestore-runtime", endpoint_url=url)

    def create(self, **settings: Any) -> Group:
        self.sagemaker.create_feature_group(**group_settings(self.name) | settings)
        until(lambda: self.describe()["FeatureGroupStatus"] != "Creating")
        return self

    def describe(self) -> dict[str, Any]:
        return dict(self.sagemaker.describe_feature_group(FeatureGroupName=self.name))

    def put(self, **values: str) -> None:
        record = [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]
        self.runtime.put_record(FeatureGroupName=self.name, Record=record)

    def delete_record(self, record_id: str, event_time: str, **settings: Any) -> None:
        self.runtime.delete_record(
            FeatureGroupName=self.name, RecordIdentifierValueAsString=record_id, EventTime=event_time, **settings
        )

    def get(self, record_id: str, **settings: Any) -> dict[str, str] | None:
        answer = self.runtime.get_record(
            FeatureGroupName=self.name, RecordIdentifierValueAsString=record_id, **settings
        )
        if "Record" not in answer:
            return None
        return {item["FeatureName"]: item["ValueAsString"] for item in answer["Record"]}

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows that Athena answers to `sql`, in which `{table}` stands for the offline store's table."""
        catalog = self.describe()["OfflineStoreConfig"]["DataCatalogConfig"]
        return athena(sql.format(table=f'"{catalog["Database"]}"."{catalog["TableName"]}"'))


@pytest.fixture(scope="session")
def bucket(aws: Service) -> str:
    client("s3").create_bucket(Bucket=BUCKET)
    return BUCKET


@pytest.fixture
def group(sagemaker: Service, bucket: str) -> Iterator[Group]:
    """A feature group with both stores."""
    made = Group(new_name()).create()
    yield made
    made.sagemaker.delete_feature_group(FeatureGroupName=made.name)


def new_name() -> str:
    return f"group-{next(_numbers)}"


def group_settings(name: str) -> dict[str, Any]:
    return {
        "FeatureGroupName": name,
        "RecordIdentifierFeatureName": "record_id",
        "EventTimeFeatureName": "event_time",
        "FeatureDefinitions": DEFINITIONS,
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": f"s3://{BUCKET}/offline"}},
        "RoleArn": "arn:aws:iam::000000000000:role/feature-store",
    }


def athena(sql: str) -> list[tuple[str | None, ...]]:
    """The rows that Athena answers to `sql`. Raises `AssertionError` with Athena's reason when it fails."""
    asked = client("athena").start_query_execution(
        QueryString=sql, ResultConfiguration={"OutputLocation": f"s3://{BUCKET}/athena/"}
    )["QueryExecutionId"]

    def status() -> dict[str, Any]:
        return dict(client("athena").get_query_execution(QueryExecutionId=asked)["QueryExecution"]["Status"])

    until(lambda: status()["State"] not in ("QUEUED", "RUNNING"))
    assert status()["State"] == "SUCCEEDED", status()
    pages = client("athena").get_paginator("get_query_results").paginate(QueryExecutionId=asked)
    rows = [row["Data"] for page in pages for row in page["ResultSet"]["Rows"]]
    return [tuple(cell.get("VarCharValue") for cell in row) for row in rows[1:]]


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
