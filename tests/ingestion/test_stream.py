"""A stream is read to its end, through splits and expired iterators; a position never runs ahead of the work."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ingestion.delivery import GaveUp, Pause
from ingestion.leases import SHARD_END, LeaseTable
from ingestion.stream import Consumer, Processor, Record, list_shards
from loopcast import aws
from loopcast.service import Part
from tests.ingestion.conftest import World, until

LEASE_SECONDS = 0.4


class Collector:
    """Does with records what `work` does; `seen` has the data of all shards together."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.fails = 0

    def process(self, records: Sequence[Record], pause: Pause) -> str | None:
        if records and self.fails:
            self.fails -= 1
            raise GaveUp("so the test wants it")
        self.seen += [record.data for record in records]
        return records[-1].sequence if records else None


@contextmanager
def consuming(part: Part, stream: str, processor: Processor) -> Iterator[Consumer]:
    consumer = Consumer(part, stream, lambda: processor, LEASE_SECONDS)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        yield consumer
    finally:
        part.stop.request()
        thread.join()


def numbered(first: int, last: int) -> list[bytes]:
    return [f"{number:03d}".encode() for number in range(first, last)]


def test_what_was_given_up_comes_again_and_nothing_is_skipped(world: World) -> None:
    stream, collector = world.names.minutes_stream, Collector()
    collector.fails = 2
    world.put_records(stream, *numbered(0, 5))
    with consuming(world.part("reader"), stream, collector):
        until(lambda: collector.seen == numbered(0, 5))


def test_a_reader_goes_on_where_the_last_one_ended(world: World) -> None:
    stream, collector = world.names.minutes_stream, Collector()
    world.put_records(stream, *numbered(0, 5))
    with consuming(world.part("reader"), stream, collector):
        until(lambda: collector.seen == numbered(0, 5))
    world.put_records(stream, *numbered(5, 8))
    with consuming(world.part("reader"), stream, collector):
        until(lambda: collector.seen == numbered(0, 8))


def test_an_iterator_that_expired_is_replaced(world: World) -> None:
    stream, collector, expired = world.names.minutes_stream, Collector(), []

    def expire(**_: Any) -> None:
        if collector.seen and not expired:
            expired.append(1)
            raise ClientError({"Error": {"Code": "ExpiredIteratorException", "Message": ""}}, "GetRecords")

    events = aws.client("kinesis").meta.events
    events.register("provide-client-params.kinesis.GetRecords", expire)
    world.put_records(stream, *numbered(0, 3))
    with consuming(world.part("reader"), stream, collector):
        until(lambda: expired)
        world.put_records(stream, *numbered(3, 6))
        until(lambda: collector.seen == numbered(0, 6))
    events.unregister("provide-client-params.kinesis.GetRecords", expire)


def test_a_checkpoint_that_failed_is_made_up_for(world: World) -> None:
    stream, collector = world.names.minutes_stream, Collector()
    fail = Failing("dynamodb", "UpdateItem", lambda params: "#position" in params["UpdateExpression"])
    world.put_records(stream, *numbered(0, 3))
    with fail.once(), consuming(world.part("reader"), stream, collector):
        until(lambda: collector.seen and any(lease.position for lease in leases(world, stream)))
    assert fail.failed
    assert collector.seen == numbered(0, 3)


class Failing:
    """An operation whose first call that `which` holds for fails."""

    def __init__(self, service: str, operation: str, which: Any) -> None:
        self._name = f"provide-client-params.{service}.{operation}"
        self._service = service
        self._which = which
        self.failed = False

    def __call__(self, params: dict[str, Any], **_: Any) -> None:
        if not self.failed and self._which(params):
            self.failed = True
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, "UpdateItem")

    @contextmanager
    def once(self) -> Iterator[None]:
        events = aws.client(self._service).meta.events
        events.register(self._name, self)
        try:
            yield
        finally:
            events.unregister(self._name, self)


def leases(world: World, stream: str) -> list[Any]:
    table = LeaseTable(world.names.positions_table, stream, "test")
    return list(table.read([shard.id for shard in list_shards(stream)]).values())


class SplitStream:
    """Kinesis with one shard that was split in two, which no local Kinesis here can do: the calls that a reader
    makes, answered from lists."""

    def __init__(self) -> None:
        self.records = {
            "parent": numbered(0, 5),
            "left": numbered(5, 8),
            "right": numbered(8, 11),
        }
        self.meta = aws.client("kinesis").meta

    def get_paginator(self, _: str) -> SplitStream:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        children = [{"ShardId": shard, "ParentShardId": "parent"} for shard in ("left", "right")]
        return [{"Shards": [*children, {"ShardId": "parent"}]}]

    def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        after = int(request["StartingSequenceNumber"]) + 1 if "StartingSequenceNumber" in request else 0
        return {"ShardIterator": f"{request['ShardId']} {after}"}

    def get_records(self, **request: Any) -> dict[str, Any]:
        shard, start = request["ShardIterator"].split()
        end = int(start) + 2
        records = [
            {"SequenceNumber": str(place), "Data": data}
            for place, data in enumerate(self.records[shard])
            if int(start) <= place < end
        ]
        closed = shard == "parent" and end >= len(self.records[shard])
        following = {} if closed else {"NextShardIterator": f"{shard} {int(start) + len(records)}"}
        return {"Records": records, **following}


def test_children_are_read_after_their_parent_and_the_parent_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, split, collector = aws.client, SplitStream(), Collector()
    monkeypatch.setattr(aws, "client", lambda service: split if service == "kinesis" else real(service))
    with consuming(world.part("reader"), "split", collector):
        until(lambda: len(collector.seen) >= 11)
    assert collector.seen[:5] == numbered(0, 5)
    assert sorted(collector.seen) == numbered(0, 11)
    positions = {lease.shard: lease.position for lease in leases(world, "split")}
    assert positions == {"parent": SHARD_END, "left": "2", "right": "2"}
