"""Dead letters go back to where they came from, and those that fail again are dead letters again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ingestion.dead_letters import DeadLetters, parse_dead_letter
from ingestion.deduplicator import Deduplicator
from ingestion.messages import message_of
from ingestion.replay import Replay
from loopcast import aws
from tests.ingestion.conftest import ROOT, World, transaction
from tests.ingestion.faults import refused_call
from tests.ingestion.test_deduplicator import deduplicator, delivered


def bury(world: World, part: str, body: bytes) -> None:
    DeadLetters(part, world.names).send("reason", "detail", body, lambda seconds: False)


def replay(world: World) -> dict[tuple[str, str, str], int]:
    run = Replay(world.part("replay"))
    run.run()
    return dict(run.outcomes)


def test_a_rejected_item_becomes_an_event_once_it_can(world: World) -> None:
    bury(world, "poller", json.dumps(transaction(1)).encode())
    assert replay(world) == {("poller", "reason", "replayed"): 1}
    (event,) = world.queued()
    assert event == json.loads(world.event(1))
    assert world.dead_letters() == []


def test_an_item_that_still_cant_be_used_stays(world: World) -> None:
    bury(world, "poller", json.dumps(transaction(1, fee=-1)).encode())
    assert replay(world) == {("poller", "reason", "kept"): 1}
    assert len(world.dead_letters()) == 1
    assert world.queued() == []


@pytest.mark.parametrize("size", [100, 300_000], ids=["small", "over the limit"])
def test_an_item_comes_back_whole_from_s3(world: World, size: int) -> None:
    bury(world, "poller", json.dumps(transaction(1, inputs=["x" * size])).encode())
    replay(world)
    (event,) = world.queued()
    assert event["hash"] == transaction(1)["hash"]
    assert ("body" in event["loopcast"]) == (size > 100_000)


def test_an_event_goes_through_the_deduplicator_again(world: World) -> None:
    bury(world, "deduplicator", message_of(world.names, json.loads(world.event(1))))
    bury(world, "deduplicator", b"no JSON")
    assert replay(world) == {("deduplicator", "reason", "replayed"): 2}
    with deduplicator(world) as program:
        _pass_all(program)
    assert set(delivered(world)) == {transaction(1)["hash"]}
    (letter,) = world.dead_letters()
    assert (letter.reason, letter.body) == ("bad_message", "no JSON")


def _pass_all(program: Deduplicator) -> None:
    while program.one_pass():
        pass


def test_a_message_that_sqs_moved_itself_goes_back_to_the_queue(world: World) -> None:
    url = aws.client("sqs").get_queue_url(QueueName=world.names.dead_letter_queue)["QueueUrl"]
    aws.client("sqs").send_message(QueueUrl=url, MessageBody=world.message(world.event(1)))
    assert replay(world) == {("deduplicator", "redriven", "replayed"): 1}
    assert [event["hash"] for event in world.queued()] == [transaction(1)["hash"]]


def test_minutes_and_late_events_go_back_to_their_streams(world: World) -> None:
    bury(world, "feature-writer", b'{"series_id": "a"}')
    bury(world, "repairer", b'{"series_id": "b"}')
    replay(world)
    assert world.records(world.names.minutes_stream) == [{"series_id": "a"}]
    assert world.records(world.names.late_stream) == [{"series_id": "b"}]


def test_a_letter_that_cant_be_put_back_stays(world: World) -> None:
    bury(world, "feature-writer", b"{}")
    bury(world, "nobody", b"{}")
    run = Replay(world.part("replay"))
    run._part.stop._grace = 0.0
    with refused_call("kinesis", "PutRecords", times=1000):
        _impatient(run)
    assert sum(run.outcomes.values()) == 2
    assert {outcome for _, _, outcome in run.outcomes} == {"kept"}
    assert {letter.part for letter in world.dead_letters()} == {"feature-writer", "nobody"}


def _impatient(run: Replay) -> None:
    run._pause = lambda: lambda seconds: False  # type: ignore[method-assign]
    run.run()


def test_letters_survive_their_way_through_json() -> None:
    text = json.dumps({"part": "poller", "reason": "r", "detail": "d", "body": "b"})
    assert parse_dead_letter(text).to_json() == text


def test_the_program_says_what_it_did(world: World) -> None:
    bury(world, "poller", json.dumps(transaction(1)).encode())
    command = [sys.executable, "-m", "ingestion.replay"]
    answers = [
        subprocess.run(command, env=world.env, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert answers == ["poller: reason: 1 replayed\n", "there are no dead letters\n"]
