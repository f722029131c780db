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
import pandas as pd
import pyarrow.parquet as pq

MINUTE = 60
MINUTE_COLUMNS = ["minute_start", "transaction_count", "total_fee", "average_fee"]


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


def truth(ledger: pd.DataFrame) -> pd.DataFrame:
    """Minutes by start (s since the epoch) from a ledger with columns hash, time (s), fee, weight."""
    whole = ledger.drop_duplicates("hash")
    rows = pd.DataFrame(
        {
            "minute": whole["time"] // MINUTE * MINUTE,
            "fee": whole["fee"],
            "virtual_size": -(-whole["weight"] // 4),
        }
    )
    minutes = rows.groupby("minute").agg(
        transaction_count=("fee", "size"), total_fee=("fee", "sum"), virtual_size=("virtual_size", "sum")
    )
    minutes["average_fee"] = minutes["total_fee"] / minutes["transaction_count"]
    minutes["average_fee_rate"] = minutes["total_fee"] / minutes.pop("virtual_size")
    return minutes


def check(
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
    expected = truth(closed)
    stored = written[written.index + MINUTE <= closed_until]
    counts = pd.DataFrame({"expected": expected["transaction_count"], "stored": stored["transaction_count"]})
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
        windowed=int(windowed[windowed.index + MINUTE <= closed_until]["transaction_count"].sum()),
        written=int(stored["transaction_count"].sum()),
        lost=len(hashes - in_archive) + int(difference.clip(lower=0).sum()),
        duplicated=int((-difference).clip(lower=0).sum()),
        wrong_minutes=_wrong_minutes(expected, stored),
        late=counters.late,
        gaps=counters.gaps,
    )


def _wrong_minutes(expected: pd.DataFrame, stored: pd.DataFrame) -> int:
    starts = expected.index.union(stored.index)
    columns = list(expected.columns)
    same = expected.reindex(starts)[columns] == stored.reindex(starts)[columns]  # what is missing is NaN: never equal
    return int((~same.all(axis=1)).sum())


class Stores:
    """Reads what the stack has stored, through the AWS APIs at `environment`'s endpoints."""

    def __init__(self, environment: dict[str, str]) -> None:
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
                self._read[key] = [json.loads(line)["hash"] for line in text.splitlines() if line]
        return [line for lines in self._read.values() for line in lines]

    def archive_rows(self, bucket: str, prefix: str) -> pd.DataFrame:
        """The archive as a ledger (columns hash, time, fee, size, weight): the truth where the source keeps none."""
        rows = []
        for key in self._keys(bucket, prefix):
            for line in gzip.decompress(self._object(bucket, key)).splitlines():
                body = json.loads(line)
                rows.append(
                    [body["hash"], body["time"], body["loopcast"]["values"]["fee"], body["size"], body["weight"]]
                )
        return pd.DataFrame(rows, columns=["hash", "time", "fee", "size", "weight"]).drop_duplicates("hash")

    def windowed(self, stream: str) -> pd.DataFrame:
        """The newest revision of each minute in the minutes stream, by start (s since the epoch)."""
        records = [json.loads(data) for data in self._records(stream)]
        return _by_start(records, ["revision"])

    def written(self, bucket: str, prefix: str) -> pd.DataFrame:
        """What the offline store holds: the newest write of each minute, by start (s since the epoch)."""
        rows: list[dict[str, Any]] = []
        for key in self._keys(bucket, prefix):
            if key.endswith(".parquet"):
                rows += pq.read_table(io.BytesIO(self._object(bucket, key)), partitioning=None).to_pylist()
        minutes = _by_start(rows, ["event_time", "write_time"])
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

    def _client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)


def _by_start(rows: list[dict[str, Any]], order: list[str]) -> pd.DataFrame:
    """Rows with minute_start (ISO 8601), the newest by `order` a minute, indexed by start (s since the epoch)."""
    frame = pd.DataFrame(rows, columns=None if rows else [*MINUTE_COLUMNS, "average_fee_rate", "is_deleted", *order])
    starts = pd.to_datetime(frame["minute_start"], utc=True)
    frame.index = pd.Index(starts.map(lambda start: int(start.timestamp())), name="minute", dtype="int64")
    frame = frame.sort_values(order)
    return frame[~frame.index.duplicated(keep="last")].sort_index()


def closed_until(ledger: pd.DataFrame, lateness: float) -> int:
    """Up to when minutes must be closed: the newest listed transaction less the watermark's bound, in s."""
    return int(ledger["time"].max() - lateness - 1)
