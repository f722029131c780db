"""Reads the history of a feed's metrics: the offline store by Athena, and the newest day from the online store."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from components.columns import Columns, contiguous
from components.history import History
from components.read_features.merge import ONLINE, Row, minute_of, newest, since
from components.run import Refused
from loopcast import aws
from loopcast.feed import Feed
from loopcast.minute import EVENT_TIME, RECORD_ID, SLOTS, iso_milliseconds
from loopcast.names import Names

_log = logging.getLogger(__name__)
_BATCH = 100
_ROUNDS = 5
_QUERY_LIMIT = 600.0
_QUERY = """\
SELECT record_id, event_time, is_deleted, api_invocation_time, write_time, {metrics}
FROM "{database}"."{table}"
WHERE record_id LIKE '{series}#%' AND event_time >= '{since}'"""


def read_columns(feed: Feed, names: Names, lookback: timedelta) -> Columns:
    """Every metric over the `lookback` before the newest minute. Raises `Refused` when there is none."""
    online = read_online(feed, names)
    first = max((row.event_time for row in online), default=datetime.now(UTC)) - lookback
    offline = list(read_offline(feed, names, first))
    _log.info("read %d minutes online and %d rows offline", len(online), len(offline))
    return _columns(feed, names, newest([*online, *offline]), lookback)


def read_newest_columns(feed: Feed, names: Names) -> Columns:
    """Every metric over the newest day, from the online store alone. Raises `Refused` when there is none."""
    return _columns(feed, names, newest(read_online(feed, names)), timedelta(days=1))


def read_newest(feed: Feed, names: Names) -> History:
    """The newest day of the target's history, from the online store alone. Raises `Refused` when there is none."""
    return read_newest_columns(feed, names).history(feed.forecast.target)


def _columns(feed: Feed, names: Names, minutes: Mapping[datetime, Mapping[str, float]], lookback: timedelta) -> Columns:
    if not minutes:
        raise Refused(f"The feature group {names.feature_group} has no minute yet: start the feed and wait.")
    return contiguous(since(minutes, lookback), feed.metrics)


def read_online(feed: Feed, names: Names) -> list[Row]:
    """What the online store holds of the feed's series: at most a row for each minute of the day."""
    ids = [f"{feed.name}#{slot:04d}" for slot in range(SLOTS)]
    batches = [ids[first : first + _BATCH] for first in range(0, SLOTS, _BATCH)]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda batch: _batch_get(feed, names, batch), batches)
        return [row for answer in answers for row in answer]


def _batch_get(feed: Feed, names: Names, ids: list[str]) -> list[Row]:
    rows: list[Row] = []
    for attempt in range(_ROUNDS):
        answer = aws.client("sagemaker-featurestore-runtime").batch_get_record(
            Identifiers=[_identifier(feed, names, ids)]
        )
        if answer["Errors"]:
            raise Refused(f"The online store of {names.feature_group} refused a minute: {answer['Errors'][0]}.")
        rows += [_online_row(feed, record["Record"]) for record in answer["Records"]]
        ids = [key for item in answer["UnprocessedIdentifiers"] for key in item["RecordIdentifiersValueAsString"]]
        if not ids:
            return rows
        time.sleep(random.uniform(0.1, 0.2) * 2**attempt)  # noqa: S311 - jitter, no secret
    raise Refused(f"The online store of {names.feature_group} is overloaded: start the step again.")


def _identifier(feed: Feed, names: Names, ids: list[str]) -> dict[str, Any]:
    return {
        "FeatureGroupName": names.feature_group,
        "RecordIdentifiersValueAsString": ids,
        "FeatureNames": [RECORD_ID, EVENT_TIME, *feed.metrics],
    }


def _online_row(feed: Feed, record: Iterable[Mapping[str, str]]) -> Row:
    values = {feature["FeatureName"]: feature["ValueAsString"] for feature in record}
    event_time = datetime.fromisoformat(values[EVENT_TIME])
    minute = minute_of(values[RECORD_ID], event_time)
    return Row(minute, event_time, ONLINE, _defined(feed, values))


def _defined(feed: Feed, values: Mapping[str, str | None]) -> dict[str, float]:
    """The metrics that the record has: a ratio to nothing is no feature."""
    return {name: float(text) for name in feed.metrics if (text := values.get(name)) is not None}


def read_offline(feed: Feed, names: Names, first: datetime) -> Iterator[Row]:
    """The writes in the offline store whose event time is `first` or later; Athena reads the group's Glue table."""
    group = aws.client("sagemaker").describe_feature_group(FeatureGroupName=names.feature_group)
    catalog = group["OfflineStoreConfig"]["DataCatalogConfig"]
    query = _QUERY.format(
        metrics=", ".join(feed.metrics),
        database=catalog["Database"],
        table=catalog["TableName"],
        series=feed.name,
        since=iso_milliseconds(first.astimezone(UTC)),
    )
    for record in _select(names, query):
        yield _offline_row(feed, record)


def _offline_row(feed: Feed, record: Mapping[str, str | None]) -> Row:
    event_time = datetime.fromisoformat(record[EVENT_TIME] or "")
    deleted = (record["is_deleted"] or "").lower() == "true"
    return Row(
        minute=minute_of(record[RECORD_ID] or "", event_time),
        event_time=event_time,
        written=f"{record['api_invocation_time']} {record['write_time']}",
        values=None if deleted else _defined(feed, record),
    )


def _select(names: Names, query: str) -> Iterator[dict[str, str | None]]:
    athena = aws.client("athena")
    started = athena.start_query_execution(
        QueryString=query,
        WorkGroup=names.athena_workgroup,
        ResultConfiguration={"OutputLocation": names.s3(names.athena_results_prefix)},
    )
    identifier = started["QueryExecutionId"]
    _wait_for_query(identifier)
    heading: list[str | None] = []
    for page in athena.get_paginator("get_query_results").paginate(QueryExecutionId=identifier):
        for row in page["ResultSet"]["Rows"]:
            cells = [cell.get("VarCharValue") for cell in row["Data"]]
            if not heading:
                heading = cells
            else:
                yield {str(name): cell for name, cell in zip(heading, cells, strict=True)}


def _wait_for_query(identifier: str) -> None:
    deadline, pause = time.monotonic() + _QUERY_LIMIT, 0.1
    while True:
        status = aws.client("athena").get_query_execution(QueryExecutionId=identifier)["QueryExecution"]["Status"]
        if status["State"] == "SUCCEEDED":
            return
        if status["State"] in {"FAILED", "CANCELLED"}:
            raise Refused(f"Athena's query has {status['State'].lower()}: {status.get('StateChangeReason')}.")
        if time.monotonic() >= deadline:
            aws.client("athena").stop_query_execution(QueryExecutionId=identifier)
            raise Refused(f"Athena's query took more than {_QUERY_LIMIT:.0f} s: shorten the lookback.")
        time.sleep(pause)
        pause = min(5.0, pause * 1.5)
