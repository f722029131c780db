"""Checks the flow of events against the source's ledger.

It recomputes every minute from what the source says it listed, and compares exactly with the archive, the minutes
stream and the offline store. It reads those with boto3 and pyarrow alone: nothing here is shared with the programs that
it checks.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import boto3
import jmespath
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from loopcast.feed import Feed, Metric

MINUTE = 60
VALUE = "values."
"""Before the name of one of the feed's values: a ledger's column."""
_OF_THE_SOURCE = ("fee", "size", "weight")
"""What the archive's rows keep of a transaction as the source listed it."""


@dataclass(frozen=True)
class Flow:
    """Counts of transactions over closed whole minutes (`minutes` of them), but for `late` and `gaps`.

    `polled`, `published` and `deduplicated` are the programs' own counters less the ledger's transactions of minutes
    that are still open. `archived` counts distinct hashes, `archive_repeats` the further copies. `written` is the sum
    of the counts in the offline store, `windowed` of those in the minutes stream. `lost` was listed and is not in the
    archive or not in its minute, `duplicated` is counted in a minute more than once, and `wrong_minutes` differ from
    the ledger in any number.
    """

    minutes: int
    listed: int
    polled: int
    published: int
    deduplicated: int
    archived: int
    archive_repeats: int
    windowed: int
    written: int
    lost: int
    duplicated: int
    wrong_minutes: int
    late: int
    gaps: int

    @property
    def exact(self) -> bool:
        return self.lost == self.duplicated == self.wrong_minutes == 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Counters:
    """What the programs say of themselves, since their start."""

    polled: int
    published: int
    deduplicated: int
    late: int
    gaps: int


def measured(ledger: pd.DataFrame, feed: Feed) -> pd.DataFrame:
    """A source's ledger with a column more for each of the feed's values, which are read from the others."""
    values = {
        VALUE + name: -(-ledger[value.path] // value.divide_by) if value.divide_by else ledger[value.path]
        for name, value in feed.event.values.items()
    }
    return ledger.assign(**values)


def truth(ledger: pd.DataFrame, feed: Feed) -> pd.DataFrame:
    """Minutes by start (s since the epoch) from a ledger with columns hash, time (s) and the feed's values."""
    whole = ledger.drop_duplicates("hash")
    groups = whole.groupby((whole["time"] // MINUTE * MINUTE).rename("minute"))
    counts, totals = groups.size(), groups[[VALUE + name for name in feed.event.values]].sum()
    return pd.DataFrame({name: _metric(metric, counts, totals) for name, metric in feed.metrics.items()})


def _metric(metric: Metric, counts: pd.Series, totals: pd.DataFrame) -> pd.Series:
    if metric.aggregate == "count":
        return counts
    total = totals[f"{VALUE}{metric.of}"]
    if metric.aggregate == "sum":
        return total
    if metric.aggregate == "mean":
        return total / counts
    per = totals[f"{VALUE}{metric.per}"]
    return total / per.where(per != 0)  # a ratio to nothing is undefined


def check(
    feed: Feed,
    ledger: pd.DataFrame,
    archived: list[str],
    windowed: pd.DataFrame,
    written: pd.DataFrame,
    counters: Counters,
    closed_until: int,
) -> Flow:
    """The flow over the minutes that end at or before `closed_until` (s since the epoch).

    `archived` has the hash of each line of the archive; `windowed` and `written` have minutes by start, as `truth`.
    """
    is_closed = ledger["time"] // MINUTE * MINUTE + MINUTE <= closed_until
    closed, still_open = ledger[is_closed], int((~is_closed).sum())
    expected = truth(closed, feed)
    stored = written[written.index + MINUTE <= closed_until]
    count = feed.count_metric
    counts = pd.DataFrame({"expected": expected[count], "stored": stored[count]})
    difference = counts.fillna(0)["expected"] - counts.fillna(0)["stored"]
    hashes = set(closed["hash"])
    lines = [line for line in archived if line in hashes]
    in_archive = set(lines)
    return Flow(
        minutes=len(expected),
        listed=len(hashes),
        polled=counters.polled - still_open,
        published=counters.published - still_open,
        deduplicated=counters.deduplicated - still_open,
        archived=len(in_archive),
        archive_repeats=len(lines) - len(in_archive),
        windowed=int(windowed[windowed.index + MINUTE <= closed_until][count].sum()),
        written=int(stored[count].sum()),
        lost=len(hashes - in_archive) + int(difference.clip(lower=0).sum()),
        duplicated=int((-difference).clip(lower=0).sum()),
        wrong_minutes=_wrong_minutes(feed, expected, stored),
        late=counters.late,
        gaps=counters.gaps,
    )


def _wrong_minutes(feed: Feed, expected: pd.DataFrame, stored: pd.DataFrame) -> int:
    starts = expected.index.union(stored.index)
    columns = list(expected.columns)
    ours, theirs = expected.reindex(starts), stored.reindex(index=starts, columns=columns)
    same = (ours == theirs) | (ours.isna() & theirs.isna())  # the count of a minute that is missing is never equal
    if any(value.type == "number" for value in feed.event.values.values()):  # sums of doubles depend on their order
        same |= np.isclose(ours.astype(float), theirs.astype(float), rtol=1e-9, atol=0.0)
    return int((~same.all(axis=1)).sum())


class Stores:
    """Reads what the stack has stored, through the AWS APIs at `environment`'s endpoints."""

    def __init__(self, environment: dict[str, str], feed: Feed) -> None:
        self._feed, self._id = feed, jmespath.compile(feed.event.id)
        self._session = boto3.session.Session(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
        self._endpoint = environment["AWS_ENDPOINT_URL"]
        self._read: dict[str, list[str]] = {}

    def archived(self, bucket: str, prefix: str) -> list[str]:
        """The hash of each line of the archive. Objects never change, so each is read once."""
        for key in self._keys(bucket, prefix):
            if key not in self._read:
                text = gzip.decompress(self._object(bucket, key))
                self._read[key] = [self._hash(json.loads(line)) for line in text.splitlines() if line]
        return [line for lines in self._read.values() for line in lines]

    def archive_rows(self, bucket: str, prefix: str) -> pd.DataFrame:
        """The archive as a ledger (hash, time, the feed's values, and fee, size and weight where the source states
        them): the truth where the source keeps none."""
        values = [VALUE + name for name in self._feed.event.values]
        rows = [self._row(json.loads(line)) for line in self._lines(bucket, prefix)]
        frame = pd.DataFrame(rows, columns=None if rows else ["hash", "time", *_OF_THE_SOURCE, *values])
        return frame.drop_duplicates("hash")

    def _lines(self, bucket: str, prefix: str) -> Iterator[bytes]:
        for key in self._keys(bucket, prefix):
            yield from gzip.decompress(self._object(bucket, key)).splitlines()

    def _row(self, body: dict[str, Any]) -> dict[str, Any]:
        event = body["loopcast"]
        known = event["values"] | body
        return {
            "hash": self._hash(body),
            "time": event["time"] // 1000,
            **{name: known[name] for name in _OF_THE_SOURCE if name in known},
            **{VALUE + name: value for name, value in event["values"].items()},
        }

    def _hash(self, body: dict[str, Any]) -> str:
        """The source's own id of an event; the poller's where the body is too large to be here."""
        found = self._id.search(body)
        return str(body["loopcast"]["id"] if found is None else found)

    def windowed(self, stream: str) -> pd.DataFrame:
        """The newest revision of each minute in the minutes stream, by start (s since the epoch)."""
        records = [json.loads(data) for data in self._records(stream)]
        return self._by_start(records, ["revision"])

    def written(self, bucket: str, prefix: str) -> pd.DataFrame:
        """What the offline store holds: the newest write of each minute, by start (s since the epoch)."""
        rows: list[dict[str, Any]] = []
        for key in self._keys(bucket, prefix):
            if key.endswith(".parquet"):
                rows += pq.read_table(io.BytesIO(self._object(bucket, key)), partitioning=None).to_pylist()
        minutes = self._by_start(rows, ["event_time", "write_time"])
        return minutes[~minutes["is_deleted"].astype(bool)] if len(minutes) else minutes

    def _object(self, bucket: str, key: str) -> bytes:
        body: bytes = self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self._client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def _records(self, stream: str) -> Iterator[bytes]:
        kinesis = self._client("kinesis")
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                answer = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
                yield from (record["Data"] for record in answer["Records"])
                at_end = not answer["Records"] and not answer.get("MillisBehindLatest")
                iterator = None if at_end else answer.get("NextShardIterator")

    def _by_start(self, rows: list[dict[str, Any]], order: list[str]) -> pd.DataFrame:
        """Rows with minute_start (ISO 8601), the newest by `order` a minute, indexed by start (s since the epoch)."""
        columns = ["minute_start", *self._feed.metrics, "is_deleted", *order]
        frame = pd.DataFrame(rows, columns=None if rows else columns)
        starts = pd.to_datetime(frame["minute_start"], utc=True)
        frame.index = pd.Index(starts.map(lambda start: int(start.timestamp())), name="minute", dtype="int64")
        frame = frame.sort_values(order)
        return frame[~frame.index.duplicated(keep="last")].sort_index()

    def _client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)


def closed_until(ledger: pd.DataFrame, lateness: float) -> int:
    """Up to when minutes must be closed: the newest listed transaction less the watermark's bound, in s."""
    return int(ledger["time"].max() - lateness - 1)
