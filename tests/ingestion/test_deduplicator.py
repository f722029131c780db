"""Every event of the queue comes into the stream, and once as long as nothing is killed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from ingestion.deduplicator import Deduplicator
from ingestion.delivery import GaveUp
from ingestion.seen import Seen
from loopcast import aws
from loopcast.clock import Clock
from tests.ingestion.conftest import World, ids, transaction, until
from tests.ingestion.faults import PUT_RECORDS, partial_failures, refused_call
from tests.ingestion.proxy import Proxy


@contextmanager
def deduplicator(world: World, clock: Clock | None = None) -> Iterator[Deduplicator]:
    part = world.part("deduplicator", clock=clock or Clock())
    with ThreadPoolExecutor(2) as pool:
        remember = part.clock.wall(world.feed.window.deduplication)
        yield Deduplicator(part, Seen(world.names.seen_table, remember, part.clock.now, pool))


def messages(world: World, first: int, last: int, size: int = 10) -> list[str]:
    """Messages with the events of so many transactions, `size` in each."""
    return [
        world.message(*(world.event(number) for number in range(start, min(start + size, last))))
        for start in range(first, last, size)
    ]


def delivered(world: World) -> Counter[str]:
    return Counter(record["hash"] for record in world.records(world.names.events_stream))


def remember(world: World, number: int, expires_at: float) -> None:
    item = {"id": {"S": transaction(number)["hash"]}, "expires_at": {"N": str(expires_at)}}
    aws.client("dynamodb").put_item(TableName=world.names.seen_table, Item=item)


def test_each_event_is_delivered_once_however_often_it_comes(world: World) -> None:
    world.enqueue(*messages(world, 0, 100), *messages(world, 50, 150))
    with deduplicator(world) as program:
        while program.one_pass():
            pass
    assert delivered(world) == Counter(dict.fromkeys(ids(range(150)), 1))
    assert world.queue_is_empty()


def test_a_record_is_the_event_keyed_by_its_id(world: World) -> None:
    world.enqueue(world.message(world.event(1)))
    with deduplicator(world) as program:
        program.one_pass()
    assert world.records(world.names.events_stream) == [json.loads(world.event(1))]


def test_events_of_a_pass_come_oldest_first(world: World) -> None:
    world.enqueue(*reversed(messages(world, 0, 60)))
    with deduplicator(world) as program:
        program.one_pass()
    times = [record["loopcast"]["time"] for record in world.records(world.names.events_stream)]
    falls = sum(later < earlier for earlier, later in pairwise(times))
    assert falls <= 1  # where one shard's records end and the other's begin


def test_only_failed_records_are_sent_again(world: World) -> None:
    world.enqueue(*messages(world, 0, 40))
    with deduplicator(world) as program, partial_failures(PUT_RECORDS, *range(0, 40, 3), rounds=2) as faults:
        program.one_pass()
    assert delivered(world) == Counter(dict.fromkeys(ids(range(40)), 1))
    assert faults.calls == [40, 14, 5]


def test_nothing_is_marked_or_acknowledged_before_it_is_delivered(world: World) -> None:
    world.hide_received_for(0)
    world.enqueue(*messages(world, 0, 10))
    with deduplicator(world) as program:
        program._part.stop.request()
        with refused_call("kinesis", "PutRecords", times=1000):
            assert program.one_pass() == 0
        assert not aws.client("dynamodb").scan(TableName=world.names.seen_table)["Items"]
        assert not world.queue_is_empty()
        until(program.one_pass)
    assert delivered(world) == Counter(dict.fromkeys(ids(range(10)), 1))


def test_of_a_pass_that_fails_in_part_the_rest_comes_again(world: World) -> None:
    world.hide_received_for(0)
    world.enqueue(*messages(world, 0, 20))
    with deduplicator(world) as program:
        program._part.stop.request()
        with partial_failures(PUT_RECORDS, 0, rounds=1000, code="ProvisionedThroughputExceededException"):
            assert program.one_pass() == 1
        until(program.one_pass)
    assert delivered(world) == Counter(dict.fromkeys(ids(range(20)), 1))


def test_messages_whose_marks_fail_come_again(world: World) -> None:
    world.hide_received_for(0)
    world.enqueue(*messages(world, 0, 10))
    with deduplicator(world) as program:
        program._part.stop.request()
        with refused_call("dynamodb", "BatchWriteItem", times=1000):
            assert program.one_pass() == 0
        until(program.one_pass)
    assert set(delivered(world)) == ids(range(10))
    assert world.queue_is_empty()


def test_expiry_is_compared_by_time_for_dynamodb_deletes_late(world: World) -> None:
    clock = Clock(now=lambda: 1_800_000_000.0)
    remember(world, 1, expires_at=1_800_000_001)
    remember(world, 2, expires_at=1_799_999_999)  # expired, and not deleted yet
    world.enqueue(world.message(world.event(1), world.event(2)))
    with deduplicator(world, clock) as program:
        program.one_pass()
    assert set(delivered(world)) == ids([2])


@pytest.mark.parametrize(("speed", "remembered"), [(1, 10_800), (100, 108)])
def test_ids_are_remembered_for_the_feeds_time_scaled_to_the_clock(world: World, speed: float, remembered: int) -> None:
    clock = Clock(speed, now=lambda: 1_800_000_000.0)
    world.enqueue(world.message(world.event(1)))
    with deduplicator(world, clock) as program:
        program.one_pass()
    (item,) = aws.client("dynamodb").scan(TableName=world.names.seen_table)["Items"]
    assert int(item["expires_at"]["N"]) == 1_800_000_000 + remembered


@pytest.mark.parametrize(
    "body", ["", "no JSON", "[]", "{}", '{"detail": 5}', '{"detail": {"feed": "another", "events": []}}', "[" * 50_000]
)
def test_a_message_that_carries_no_events_becomes_a_dead_letter(world: World, body: str) -> None:
    world.enqueue(body or " ", *messages(world, 0, 10))
    with deduplicator(world) as program:
        program.one_pass()
    (letter,) = world.dead_letters()
    assert (letter.part, letter.reason, letter.body) == ("deduplicator", "bad_message", body or " ")
    assert set(delivered(world)) == ids(range(10))
    assert world.queue_is_empty()


def changed(event: bytes, **inner: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(event)
    return {**document, "loopcast": {**document["loopcast"], **inner}}


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        ({"id": ""}, "not_an_event"),
        ({"id": "half a pair: \ud800"}, "not_an_event"),
        ({"time": "noon"}, "not_an_event"),
        ({"values": {"fee": 1}}, "missing_virtual_size"),
        ({"values": {"fee": 1.5, "virtual_size": 1}}, "bad_fee"),
        ({"values": {"fee": "many", "virtual_size": 1}}, "not_an_event"),
        ({"body": float("nan")}, "unreadable"),
    ],
)
def test_a_poison_event_does_not_take_its_neighbours_down(world: World, inner: dict[str, Any], reason: str) -> None:
    poison = changed(world.event(5), **inner)
    detail = {"feed": world.feed.name, "events": [json.loads(world.event(4)), poison, json.loads(world.event(6))]}
    world.enqueue(json.dumps({"detail": detail}))
    with deduplicator(world) as program:
        program.one_pass()
    assert set(delivered(world)) == ids([4, 6])
    (letter,) = world.dead_letters()
    assert letter.reason == reason
    assert json.dumps(json.loads(letter.body)["detail"]["events"]) == json.dumps([poison])


def test_a_dead_letter_that_cant_be_sent_keeps_its_message(world: World) -> None:
    world.hide_received_for(0)
    world.enqueue("no JSON")
    with deduplicator(world) as program:
        program._part.stop.request()
        with refused_call("sqs", "SendMessage", times=1000), pytest.raises(GaveUp):
            program.one_pass()
        until(program.one_pass)
    assert len(world.dead_letters()) == 1


@pytest.mark.parametrize(
    ("operation", "after"),
    [("PutRecords", False), ("PutRecords", True), ("BatchWriteItem", False), ("DeleteMessageBatch", False)],
    ids=["before delivery", "delivered unknowingly", "before the mark", "before the acknowledgement"],
)
def test_a_deduplicator_killed_anywhere_loses_nothing(world: World, operation: str, after: bool) -> None:
    world.hide_received_for(1)
    world.enqueue(*messages(world, 0, 100))
    with Proxy(world.env["AWS_ENDPOINT_URL"], operation, after).serving() as proxy:
        killed = world.start("deduplicator", "--threads", "1", AWS_ENDPOINT_URL=proxy.endpoint)
        assert proxy.holding.wait(30)
        killed.process.kill()
        killed.process.wait()
    with deduplicator(world) as heir:
        until(lambda: heir.one_pass() == 0 and world.queue_is_empty())
    found = delivered(world)
    assert set(found) == ids(range(100))
    if operation == "DeleteMessageBatch":  # all was delivered and marked: nothing is repeated
        assert set(found.values()) == {1}


def test_two_deduplicators_share_the_queue(world: World) -> None:
    programs = [world.start("deduplicator", "--threads", "2") for _ in range(2)]
    for program in programs:
        program.url("/")
    world.enqueue(*messages(world, 0, 400, size=4))
    until(world.queue_is_empty)
    assert [program.stop() for program in programs] == [0, 0]
    assert delivered(world) == Counter(dict.fromkeys(ids(range(400)), 1))


def test_a_stop_ends_what_is_in_hand(world: World) -> None:
    world.enqueue(*messages(world, 0, 300))
    program = world.start("deduplicator")
    until(lambda: program.metrics()["loopcast_deduplicator_delivered_events_total"] > 0)
    assert program.stop() == 0
    left = {event["hash"] for event in until(lambda: world.queued() or [{"hash": None}])}
    assert set(delivered(world)) | left >= ids(range(300))
    assert not set(delivered(world)) & left
