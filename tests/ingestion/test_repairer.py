"""A minute that events came too late for is written again, whole, once the archive has them."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingestion.archive import Archive, read_object
from ingestion.late import BadLate, parse_late
from ingestion.online import put
from ingestion.repairer import FIRST_WINDOW_WAIT, LONGEST_WAIT, Repairer
from ingestion.stream import Record
from loopcast import aws
from loopcast.minute import Minute, parse_minute
from tests.ingestion.conftest import World, transaction, until

MINUTE_MS = 60_000
FIRST = 400
"""The number of the first transaction in the minute of these tests: it has ten a second, six hundred in all."""
START_MS = transaction(FIRST)["time"] * 1000
START = datetime.fromtimestamp(START_MS / 1000, UTC)
assert START_MS % MINUTE_MS == 0


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A minute whose window counted some transactions, and a repairer that late ones are handed to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.time = Time()
        part = world.part("repairer")
        self.repairer = Repairer(part, Archive(world.feed, world.names), patience=900, now=self.time)
        self._objects = 0
        self._sequence = 0

    def archive(self, *numbers: int, hour: str = "2023/11/14/22") -> None:
        lines = b"\n".join(self.world.event(number) for number in numbers) + b"\n"
        key = f"raw/{hour}/object-{self._objects}.gz"
        aws.client("s3").put_object(Bucket=self.world.names.bucket, Key=key, Body=gzip.compress(lines))
        self._objects += 1

    def window(self, count: int) -> None:
        """The window's own minute, as the feature writer has written it."""
        metrics = {"transaction_count": count, "total_fee": 1, "average_fee": 1.0, "average_fee_rate": 1.0}
        put(self.world.names, Minute(self.world.feed.name, START, 0, metrics))

    def late(self, *numbers: int) -> str | None:
        return self.repairer.process([self.record(self.document(number)) for number in numbers], lambda _: True)

    def record(self, document: object) -> Record:
        self._sequence += 1
        return Record(str(self._sequence), json.dumps(document).encode())

    def document(self, number: int) -> dict[str, Any]:
        return {
            "series_id": self.world.feed.name,
            "minute_start": START.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "id": transaction(number)["hash"],
            "time": transaction(number)["time"] * 1000,
        }

    def after(self, seconds: float = LONGEST_WAIT) -> str | None:
        """What the repairer does so much later; returns the position."""
        self.time.now += seconds
        return self.repairer.process([], lambda _: True)

    def repairs(self) -> list[Minute]:
        documents = self.world.records(self.world.names.minutes_stream)
        return [parse_minute(self.world.feed, document) for document in documents]

    def written(self) -> None:
        """The feature writer has written what was put out."""
        for minute in self.repairs():
            put(self.world.names, minute)


@pytest.fixture
def scene(features: World) -> Scene:
    return Scene(features)


def test_a_late_event_is_counted_once_the_archive_has_it(scene: Scene) -> None:
    scene.window(3)
    scene.archive(FIRST, FIRST + 1, FIRST + 2)
    assert scene.late(FIRST + 5) is None
    assert scene.after() is None
    assert scene.repairs() == []
    scene.archive(FIRST + 5)
    assert scene.after() == "1"
    (repaired,) = scene.repairs()
    assert repaired.revision == 1
    fees = [1000 + number for number in (FIRST, FIRST + 1, FIRST + 2, FIRST + 5)]
    assert repaired.metrics == {
        "transaction_count": 4,
        "total_fee": sum(fees),
        "average_fee": sum(fees) / 4,
        "average_fee_rate": sum(fees) / (4 * 140),
    }


def test_copies_in_the_archive_count_once_and_other_minutes_not(scene: Scene) -> None:
    scene.window(2)
    scene.archive(FIRST - 1, FIRST, FIRST, FIRST + 1, FIRST + 600)
    scene.archive(FIRST, FIRST + 3, hour="2023/11/15/03")
    scene.late(FIRST + 3)
    scene.after()
    (repaired,) = scene.repairs()
    assert repaired.metrics["transaction_count"] == 3


def test_a_repeat_of_a_repair_is_the_same_record_and_a_later_repair_wins(scene: Scene) -> None:
    scene.window(1)
    scene.archive(FIRST, FIRST + 1)
    scene.late(FIRST + 1)
    scene.after()
    again = Scene(scene.world)  # after a crash: the same late event comes once more
    again.late(FIRST + 1)
    again.after()
    first, second = scene.repairs()
    assert first == second
    scene.written()
    scene.archive(FIRST + 2)
    scene.late(FIRST + 2)
    assert scene.after() == "2"
    assert [minute.revision for minute in scene.repairs()] == [1, 1, 2]


def test_a_late_event_that_was_repaired_before_needs_no_other_repair(scene: Scene) -> None:
    scene.window(1)
    scene.archive(FIRST, FIRST + 1)
    scene.late(FIRST + 1)
    scene.after()
    scene.written()
    scene.late(FIRST + 1)
    assert scene.after() == "2"
    assert len(scene.repairs()) == 1


def test_a_minute_is_not_repaired_from_a_part_of_the_archive(scene: Scene) -> None:
    """The late event may be archived before events that were on time: they went through another shard."""
    scene.window(3)
    scene.archive(FIRST, FIRST + 5)
    scene.late(FIRST + 5)
    scene.after()
    assert scene.repairs() == []
    scene.archive(FIRST + 1, FIRST + 2)
    scene.after()
    (repaired,) = scene.repairs()
    assert repaired.metrics["transaction_count"] == 4


def test_one_that_waits_does_not_hold_up_others(scene: Scene) -> None:
    scene.window(1)
    scene.archive(FIRST, FIRST + 601)
    other = {**scene.document(FIRST + 601), "minute_start": "2023-11-14T22:15:00Z"}
    assert START.strftime("%H:%M") == "22:14"
    scene.repairer.process([scene.record(scene.document(FIRST + 5)), scene.record(other)], lambda _: True)
    assert scene.after(FIRST_WINDOW_WAIT) is None  # nothing before the one that waits may be forgotten
    (repaired,) = scene.repairs()
    assert repaired.start.minute == 15


def test_a_minute_that_never_had_a_window_is_made_from_late_events_alone(scene: Scene) -> None:
    scene.archive(FIRST, FIRST + 1)
    scene.late(FIRST, FIRST + 1)
    scene.after(1)
    assert scene.repairs() == []  # its window may be on the way
    scene.after(FIRST_WINDOW_WAIT)
    (repaired,) = scene.repairs()
    assert (repaired.revision, repaired.metrics["transaction_count"]) == (2, 2)


def test_a_late_event_that_never_comes_to_the_archive_becomes_a_dead_letter(scene: Scene) -> None:
    scene.window(1)
    scene.archive(FIRST, FIRST + 1)
    scene.late(FIRST + 1, FIRST + 9)
    assert scene.after(901) == "2"
    (letter,) = scene.world.dead_letters()
    assert (letter.part, letter.reason) == ("repairer", "not_archived")
    assert json.loads(letter.body)["id"] == transaction(FIRST + 9)["hash"]
    (repaired,) = scene.repairs()  # from what there is
    assert repaired.metrics["transaction_count"] == 2


@pytest.mark.parametrize(
    "data",
    [
        b"no JSON",
        b"5",
        b"{}",
        b'{"series_id": 1, "id": "a", "minute_start": "2026-11-21T10:00:00Z"}',
        b'{"series_id": "s", "id": "a", "minute_start": "2026-11-21T10:00:30Z"}',
        b'{"series_id": "s", "id": "a", "minute_start": "2026-11-21T10:00:00"}',
    ],
)
def test_what_is_no_late_event_is_told(data: bytes) -> None:
    with pytest.raises(BadLate):
        parse_late(data)


def test_a_bad_record_becomes_a_dead_letter_and_its_neighbours_are_repaired(scene: Scene) -> None:
    scene.window(1)
    scene.archive(FIRST, FIRST + 1)
    scene.repairer.process([scene.record("bad"), scene.record(scene.document(FIRST + 1))], lambda _: True)
    assert scene.after() == "2"
    assert [letter.reason for letter in scene.world.dead_letters()] == ["bad_late_event"]
    assert len(scene.repairs()) == 1


def test_a_line_of_the_archive_that_is_no_event_is_left_out(world: World) -> None:
    content = read_object(b"no JSON\n" + world.event(FIRST) + b"\n{}\n")
    assert content.size == 1
    assert list(content.minutes) == [START_MS]


def test_the_program_repairs_what_comes_late(features: World) -> None:
    scene = Scene(features)
    scene.window(2)
    scene.archive(FIRST, FIRST + 1)
    program = features.start("repairer", "--lease-seconds", "2")
    features.put_records(features.names.late_stream, scene.document(FIRST + 7), b"bad")
    until(lambda: program.metrics().get("loopcast_repairer_pending_events") == 1)
    scene.archive(FIRST + 7)
    (repaired,) = until(scene.repairs)
    assert (repaired.revision, repaired.metrics["transaction_count"]) == (1, 3)
    assert program.stop() == 0
    assert [letter.reason for letter in features.dead_letters()] == ["bad_late_event"]
