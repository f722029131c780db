"""Each minute is in the feature group once written, in its newest revision, whoever is killed meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.feature_writer import FeatureWriter, newest_revisions
from ingestion.leases import LeaseTable
from ingestion.stream import Record, list_shards
from loopcast import aws
from loopcast.minute import Minute, iso_minute, record_id
from tests.ingestion.conftest import World, until
from tests.ingestion.faults import refused_call

START = datetime(2026, 11, 21, 10, tzinfo=UTC)


def minute(number: int = 0, revision: int = 0, **changes: Any) -> dict[str, Any]:
    count = 10 + revision
    return {
        "series_id": "series",
        "minute_start": iso_minute(START + timedelta(minutes=number)),
        "revision": revision,
        "transaction_count": count,
        "total_fee": count * 3_000_000_000,
        "average_fee": 3e9,
        "average_fee_rate": 0.1 + 0.2,
        **changes,
    }


def online(world: World, number: int = 0, series: str = "series") -> dict[str, str]:
    """The minute's features in the online store."""
    answer = aws.client("sagemaker-featurestore-runtime").get_record(
        FeatureGroupName=world.names.feature_group,
        RecordIdentifierValueAsString=record_id(series, START + timedelta(minutes=number)),
    )
    return {item["FeatureName"]: item["ValueAsString"] for item in answer.get("Record", [])}


@contextmanager
def writer(world: World) -> Iterator[FeatureWriter]:
    with ThreadPoolExecutor(4) as pool:
        yield FeatureWriter(world.part("feature-writer"), pool)


def records(*documents: object) -> list[Record]:
    return [
        Record(str(place), document if isinstance(document, bytes) else json.dumps(document).encode())
        for place, document in enumerate(documents)
    ]


def patient(seconds: float) -> bool:
    return True


def test_a_minute_is_written_as_it_is(features: World) -> None:
    with writer(features) as program:
        assert program.process(records(minute()), patient) == "0"
    found = online(features)
    assert found["event_time"] == "2026-11-21T10:01:00.000Z"
    assert found["total_fee"] == "30000000000"  # far over 32 bits
    assert float(found["average_fee_rate"]) == 0.1 + 0.2


def test_an_older_revision_never_replaces_a_newer_one(features: World) -> None:
    with writer(features) as program:
        program.process(records(minute(revision=3)), patient)
        program.process(records(minute(revision=0)), patient)
        program.process(records(minute(1, revision=1), minute(1, revision=0)), patient)
    assert online(features)["revision"] == "3"
    assert online(features, 1)["revision"] == "1"


def test_a_repeat_changes_nothing_and_a_repair_wins(features: World) -> None:
    with writer(features) as program:
        program.process(records(minute(), minute()), patient)
        program.process(records(minute(revision=2)), patient)
    assert online(features)["transaction_count"] == "12"
    assert online(features)["event_time"] == "2026-11-21T10:01:00.002Z"


def test_the_next_days_minute_takes_the_slot_and_yesterdays_late_one_does_not(features: World) -> None:
    with writer(features) as program:
        program.process(records(minute(1440, revision=0)), patient)
        program.process(records(minute(0, revision=5)), patient)
    assert online(features)["minute_start"] == "2026-11-22T10:00:00Z"


@pytest.mark.parametrize(
    "bad", [b"no JSON", b"\xff\xfe", b"{}", json.dumps(minute(total_fee="much")).encode()], ids=str
)
def test_a_bad_minute_becomes_a_dead_letter_and_its_neighbours_are_written(features: World, bad: bytes) -> None:
    with writer(features) as program:
        assert program.process(records(minute(0), bad, minute(1)), patient) == "2"
    assert online(features, 0)
    assert online(features, 1)
    (letter,) = features.dead_letters()
    assert (letter.part, letter.reason) == ("feature-writer", "bad_minute")


def test_a_minute_is_written_again_until_it_is_taken(features: World) -> None:
    with writer(features) as program, refused_call("sagemaker-featurestore-runtime", "PutRecord", times=2) as calls:
        program.process(records(minute()), patient)
    assert len(calls) == 3
    assert online(features)


def test_the_newest_revision_of_each_minute_is_chosen() -> None:
    def made(number: int, revision: int, count: int = 0) -> Minute:
        return Minute("series", START + timedelta(minutes=number), revision, {"count": count})

    chosen = newest_revisions([made(1, 0), made(0, 2), made(0, 1), made(1, 0, count=7)])
    assert chosen == [made(0, 2), made(1, 0, count=7)]


def written(world: World, numbers: range) -> bool:
    return all(online(world, number) for number in numbers)


def test_positions_survive_a_restart(features: World) -> None:
    stream = features.names.minutes_stream
    features.put_records(stream, *(minute(number) for number in range(5)))
    first = features.start("feature_writer", "--lease-seconds", "2")
    until(lambda: first.metrics().get("loopcast_feature_writer_written_minutes_total") == 5)
    assert first.stop() == 0
    features.put_records(stream, *(minute(number) for number in range(5, 8)))
    second = features.start("feature_writer", "--lease-seconds", "2")
    until(lambda: written(features, range(8)))
    assert second.metrics()["loopcast_feature_writer_written_minutes_total"] == 3


def test_a_writer_killed_with_minutes_in_hand_is_replaced(features: World) -> None:
    stream = features.names.minutes_stream
    killed = features.start("feature_writer", "--lease-seconds", "2")
    until(lambda: killed.metrics().get("loopcast_stream_shards_held") == 2)
    features.put_records(stream, *(minute(number) for number in range(30)))
    killed.process.kill()
    features.start("feature_writer", "--lease-seconds", "2")
    until(lambda: written(features, range(30)), seconds=60)


def test_two_writers_share_the_shards(features: World) -> None:
    programs = [features.start("feature_writer", "--lease-seconds", "2") for _ in range(2)]
    for program in programs:
        until(lambda program=program: program.metrics().get("loopcast_stream_shards_held") == 1, seconds=60)
    stream = features.names.minutes_stream
    features.put_records(stream, *(minute(series_id=f"series-{number}") for number in range(20)))
    until(lambda: all(online(features, series=f"series-{number}") for number in range(20)))
    counts = [program.metrics()["loopcast_feature_writer_written_minutes_total"] for program in programs]
    assert sum(counts) == 20
    assert min(counts) > 0
    assert [program.stop() for program in programs] == [0, 0]
    table = LeaseTable(features.names.positions_table, stream, "me")
    leases = table.read([shard.id for shard in list_shards(stream)])
    assert all(lease.owner is None and lease.position for lease in leases.values())
