"""The offline store: Parquet files in S3 in the real store's layout, and a Glue table over them for Athena."""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from local.sagemaker.feature_store_data import WaitingRow
from local.sagemaker.feature_store_records import ADDED_COLUMNS, FeatureGroup, event_hour, typed
from loopcast import aws

DEFAULT_DATABASE = "sagemaker_featurestore"
_ARROW_TYPES = {"String": pa.string(), "Integral": pa.int64(), "Fractional": pa.float64()}
_GLUE_TYPES = {"String": "string", "Integral": "bigint", "Fractional": "double"}
_PARTITION_KEYS = ("year", "month", "day", "hour")
_HIVE = "org.apache.hadoop.hive.ql.io.parquet"


def data_uri(s3_uri: str, name: str, created: float) -> str:
    """Where the files of a feature group made at `created` lie, below the S3Uri of its settings."""
    below = f"{aws.account()}/sagemaker/{aws.region()}/offline-store/{name}-{int(created)}/data"
    return f"{s3_uri.rstrip('/')}/{below}"


def table_name(name: str, created: float) -> str:
    """The Glue table's name when the settings give none."""
    return f"{name.replace('-', '_').lower()}_{int(created)}"


def write_batch(group: FeatureGroup, number: int, rows: Sequence[WaitingRow]) -> None:
    """Puts the batch's files, one for each hour of event time; writing a batch again overwrites them."""
    by_hour: dict[str, list[WaitingRow]] = defaultdict(list)
    for row in rows:
        by_hour[event_hour(row.row.event_time_ms)].append(row)
    for hour, part in by_hour.items():
        bucket, key = aws.split_s3(f"{group.offline_uri}/{hour}/{_file_name(group, number, hour, part)}")
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=parquet(group, part, time.time()))


def parquet(group: FeatureGroup, rows: Sequence[WaitingRow], written: float) -> bytes:
    """A Parquet file with a column for each feature, and those that the store adds."""
    columns: dict[str, pa.Array] = {
        name: pa.array([typed(kind, row.row.values.get(name)) for row in rows], _ARROW_TYPES[kind])
        for name, kind in group.types.items()
    }
    moment = pa.timestamp("ms")
    columns["write_time"] = pa.array([int(written * 1000)] * len(rows), moment)
    columns["api_invocation_time"] = pa.array([int(row.invoked * 1000) for row in rows], moment)
    columns["is_deleted"] = pa.array([row.row.is_deleted for row in rows], pa.bool_())
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def register_table(document: Mapping[str, Any]) -> None:
    """Makes the Glue table of the feature group that `document` describes, and its database, or brings its columns up
    to date."""
    catalog = document["OfflineStoreConfig"]["DataCatalogConfig"]
    database, table = catalog["Database"], _table_input(document)
    glue = aws.client("glue")
    with contextlib.suppress(glue.exceptions.AlreadyExistsException):
        glue.create_database(DatabaseInput={"Name": database})
    try:
        glue.create_table(DatabaseName=database, TableInput=table)
    except glue.exceptions.AlreadyExistsException:
        glue.update_table(DatabaseName=database, TableInput=table)


def register_partitions(document: Mapping[str, Any], group: FeatureGroup, rows: Iterable[WaitingRow]) -> None:
    """Adds the partitions of `rows` to the Glue table; those that are there stay."""
    catalog = document["OfflineStoreConfig"]["DataCatalogConfig"]
    hours = sorted({event_hour(row.row.event_time_ms) for row in rows})
    storage = _table_input(document)["StorageDescriptor"]
    partitions = [
        {
            "Values": [part.partition("=")[2] for part in hour.split("/")],
            "StorageDescriptor": storage | {"Location": f"{group.offline_uri}/{hour}"},
        }
        for hour in hours
    ]
    for start in range(0, len(partitions), 100):
        aws.client("glue").batch_create_partition(
            DatabaseName=catalog["Database"],
            TableName=catalog["TableName"],
            PartitionInputList=partitions[start : start + 100],
        )


def _table_input(document: Mapping[str, Any]) -> dict[str, Any]:
    store = document["OfflineStoreConfig"]
    types = {item["FeatureName"]: _GLUE_TYPES[item["FeatureType"]] for item in document["FeatureDefinitions"]}
    return {
        "Name": store["DataCatalogConfig"]["TableName"],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in _PARTITION_KEYS],
        "StorageDescriptor": {
            "Columns": [{"Name": name, "Type": kind} for name, kind in (types | ADDED_COLUMNS).items()],
            "Location": store["S3StorageConfig"]["ResolvedOutputS3Uri"],
            "InputFormat": f"{_HIVE}.MapredParquetInputFormat",
            "OutputFormat": f"{_HIVE}.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": f"{_HIVE}.serde.ParquetHiveSerDe"},
        },
    }


def _file_name(group: FeatureGroup, number: int, hour: str, rows: Sequence[WaitingRow]) -> str:
    """`<the newest event time>_<16 characters>.parquet`; the characters are the batch's own."""
    newest = datetime.fromtimestamp(max(row.row.event_time_ms for row in rows) / 1000, UTC)
    own = hashlib.sha256(f"{group.key} {number} {hour}".encode()).hexdigest()[:16]
    return f"{newest:%Y%m%dT%H%M%SZ}_{own}.parquet"
