"""Mends ministack's Athena where it differs from the real one on our path; queries stay its own, on DuckDB.

- A table's columns are those of the catalog: one that a Parquet file lacks is NULL, one that the table lacks is not
  read. ministack takes the files' columns.
- The result lies at the OutputLocation that GetQueryExecution says, quoted as Athena does, which is what the SageMaker
  SDK and pandas read. ministack puts it below a folder of that name.
- Objects are read where they lie on the disk; ministack copies all of them for each query and answers nobody meanwhile.
- Only the newest executions are remembered, so that memory and snapshots stay small.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ministack.services import athena, s3

_KEPT_EXECUTIONS = 200

_relation_of_files = athena._table_relation
_copy_files = athena._materialize_table_files
_start = athena._start_query_execution


def install() -> None:
    """Puts the mended functions in the place of ministack's."""
    athena._table_relation = _table_relation
    athena._materialize_table_files = _table_files
    athena._start_query_execution = _start_query_execution
    athena._save_query_results = _save_query_results
    athena._datum_text = text


def text(value: Any) -> str:
    """A value as Athena writes it: timestamps with milliseconds, booleans in lower case."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    return str(value).lower() if isinstance(value, bool) else str(value)


def result_file(columns: list[str], rows: list[list[Any]]) -> bytes:
    """The CSV file of a result: every value quoted, NULL left empty."""
    lines = [",".join("" if value is None else _quoted(text(value)) for value in row) for row in [columns, *rows]]
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _table_relation(table: dict[str, Any], files: list[str]) -> str:
    relation: str = _relation_of_files(table, files)
    columns = (table.get("StorageDescriptor") or {}).get("Columns") or []
    if athena._data_format(table) != "parquet" or not columns:
        return relation
    names = [_quoted(str(column["Name"])) for column in columns + (table.get("PartitionKeys") or [])]
    declared = athena._empty_relation(table)
    both = f"SELECT * FROM {declared} UNION ALL BY NAME SELECT * FROM {relation}"  # noqa: S608 - ministack made them
    return f"(SELECT {', '.join(names)} FROM ({both}))"  # noqa: S608 - the names are quoted


def _table_files(location: str, workdirs: list[str]) -> list[str]:
    parsed = urlparse(location)
    prefix = parsed.path.strip("/") + "/" if parsed.path.strip("/") else ""
    bucket = s3._buckets.get(parsed.netloc) or {"objects": {}}
    keys = [key for key in sorted(bucket["objects"]) if key.startswith(prefix) and not key.endswith("/")]
    found = [(key, s3._object_disk_path(parsed.netloc, key)) for key in keys if not athena._hidden(key[len(prefix) :])]
    # A key that no file can be named for has another path, in which partitions can't be seen.
    if all(path is not None and path.endswith(f"/{key}") and Path(path).is_file() for key, path in found):
        return [str(path) for _, path in found]
    copied: list[str] = _copy_files(location, workdirs)
    return copied


def _start_query_execution(request: dict[str, Any]) -> Any:
    answer = _start(request)
    for identifier in list(athena._executions)[:-_KEPT_EXECUTIONS]:
        del athena._executions[identifier]
    newest = list(athena._executions)[-1:]
    for identifier in newest if answer[0] == 200 else []:
        result = athena._executions[identifier]["ResultConfiguration"]
        folder = result["OutputLocation"].removesuffix(f"{identifier}.csv").rstrip("/")
        result["OutputLocation"] = f"{folder}/{identifier}.csv"
    return answer


async def _save_query_results(identifier: str) -> None:
    execution = athena._executions[identifier]
    result = execution["_results"]
    place = urlparse(execution["ResultConfiguration"]["OutputLocation"])
    body = result_file(result["columns"], result["rows"])
    headers = {"content-type": "text/csv", "content-length": str(len(body))}
    status, _, answer = s3._put_object(place.netloc, place.path.lstrip("/"), body, headers)
    if status >= 300:
        reason = f"An error occurred while writing to S3: {answer.decode(errors='replace')}"
        execution["Status"] |= {"State": "FAILED", "StateChangeReason": reason}
