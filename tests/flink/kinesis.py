"""Streams of a test: records put in, and everything read back, shard by shard."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from loopcast.aws import client


class Stream:
    """A new stream with `shards` shards; it has a name of its own unless one is given."""

    def __init__(self, shards: int = 1, name: str = "") -> None:
        self.name = name or f"flink-test-{uuid.uuid4().hex[:12]}"
        self._kinesis = client("kinesis")
        self._kinesis.create_stream(StreamName=self.name, ShardCount=shards)
        self._kinesis.get_waiter("stream_exists").wait(StreamName=self.name, WaiterConfig={"Delay": 1})
        self._shards = self._kinesis.list_shards(StreamName=self.name)["Shards"]

    def put(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Pairs of a partition key and the data."""
        self._put([{"PartitionKey": key, "Data": data} for key, data in records])

    def put_in_every_shard(self, records: Iterable[bytes]) -> None:
        """One record for each shard, in the order of the shards."""
        keys = [shard["HashKeyRange"]["StartingHashKey"] for shard in self._shards]
        self._put(
            [
                {"PartitionKey": "any", "ExplicitHashKey": key, "Data": data}
                for key, data in zip(keys, records, strict=True)
            ]
        )

    def read(self) -> list[list[bytes]]:
        """Every record of each shard."""
        return [self._read(shard["ShardId"]) for shard in self._shards]

    def documents(self) -> list[dict[str, Any]]:
        """Every record of the stream, from JSON."""
        return [json.loads(record) for records in self.read() for record in records]

    def _put(self, entries: list[dict[str, Any]]) -> None:
        for first in range(0, len(entries), 500):
            answer = self._kinesis.put_records(StreamName=self.name, Records=entries[first : first + 500])
            assert answer["FailedRecordCount"] == 0

    def _read(self, shard: str) -> list[bytes]:
        iterator = self._kinesis.get_shard_iterator(
            StreamName=self.name, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[bytes] = []
        while True:
            answer = self._kinesis.get_records(ShardIterator=iterator)
            if not answer["Records"]:
                return found
            found += [record["Data"] for record in answer["Records"]]
            iterator = answer["NextShardIterator"]
