"""Athena over Glue tables of Parquet in S3: columns and results as on AWS."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopcast.aws import client
from tests.conftest import Service
from tests.local.aws.waiting import until

BUCKET = "athena-bucket"


@pytest.fixture(scope="module")
def database(aws: Service) -> str:
    """A database with a table `events` of two partitions; the older file lacks a column and has one more."""
    client("s3").create_bucket(Bucket=BUCKET)
    client("glue").create_database(DatabaseInput={"Name": "tests"})
    client("glue").create_table(
        DatabaseName="tests",
        TableInput={
            "Name": "events",
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"classification": "parquet"},
            "PartitionKeys": [{"Name": "day", "Type": "string"}],
            "StorageDescriptor": {
                "Columns": [
                    {"Name": "id", "Type": "bigint"},
                    {"Name": "name", "Type": "string"},
                    {"Name": "at", "Type": "timestamp"},
                    {"Name": "good", "Type": "boolean"},
                ],
                "Location": f"s3://{BUCKET}/events/",
            },
        },
    )
    moment = pa.scalar(1_795_255_200_123, pa.timestamp("ms"))
    put("01", {"id": [1], "name": ['with "quotes", and a comma'], "unknown": [0]})
    put("02", {"id": [2], "name": [None], "at": [moment.as_py()], "good": [True]})
    return "tests"


def put(day: str, columns: dict[str, list[Any]]) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    client("s3").put_object(Bucket=BUCKET, Key=f"events/day={day}/one.parquet", Body=file.getvalue())


def run(sql: str, output: str = f"s3://{BUCKET}/results/") -> dict[str, Any]:
    athena = client("athena")
    asked = athena.start_query_execution(
        QueryString=sql,
        QueryExecutionContext={"Database": "tests"},
        ResultConfiguration={"OutputLocation": output},
    )["QueryExecutionId"]

    def execution() -> dict[str, Any]:
        return dict(athena.get_query_execution(QueryExecutionId=asked)["QueryExecution"])

    until(lambda: execution()["Status"]["State"] not in ("QUEUED", "RUNNING"))
    assert execution()["Status"]["State"] == "SUCCEEDED", execution()
    return execution()


def rows(sql: str) -> list[list[str | None]]:
    answer = client("athena").get_query_results(QueryExecutionId=run(sql)["QueryExecutionId"])
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in answer["ResultSet"]["Rows"]]


def test_columns_are_those_of_the_table_whatever_a_file_has(database: str) -> None:
    header, first, second = rows("SELECT * FROM events ORDER BY id")
    assert header == ["id", "name", "at", "good", "day"]
    assert first == ["1", 'with "quotes", and a comma', None, None, "01"]
    assert second == ["2", None, "2026-11-21 10:00:00.123", "true", "02"]


def test_a_partition_is_read_alone(database: str) -> None:
    assert rows("SELECT id FROM tests.events WHERE day = '02'") == [["id"], ["2"]]


@pytest.mark.parametrize("folder", ["results", "results/"])
def test_the_result_lies_where_the_execution_says(database: str, folder: str) -> None:
    execution = run("SELECT id, name, good FROM events ORDER BY id", f"s3://{BUCKET}/{folder}")
    identifier, location = execution["QueryExecutionId"], execution["ResultConfiguration"]["OutputLocation"]
    assert location == f"s3://{BUCKET}/results/{identifier}.csv"
    body = client("s3").get_object(Bucket=BUCKET, Key=f"results/{identifier}.csv")["Body"].read()
    assert body.splitlines() == [b'"id","name","good"', b'"1","with ""quotes"", and a comma",', b'"2",,"true"']
    assert list(pd.read_csv(io.BytesIO(body))["id"]) == [1, 2]


def test_a_table_without_files_is_empty(database: str) -> None:
    table = client("glue").get_table(DatabaseName="tests", Name="events")["Table"]
    storage = table["StorageDescriptor"] | {"Location": f"s3://{BUCKET}/nothing/"}
    names = {"Name": "empty", "PartitionKeys": table["PartitionKeys"], "Parameters": table["Parameters"]}
    client("glue").create_table(DatabaseName="tests", TableInput=names | {"StorageDescriptor": storage})
    assert rows("SELECT count(*) AS n FROM empty") == [["n"], ["0"]]


def test_a_timestamp_has_milliseconds(database: str) -> None:
    assert rows("SELECT TIMESTAMP '2026-11-21 10:00:00' AS at, 1.5 AS number")[1] == ["2026-11-21 10:00:00.000", "1.5"]
