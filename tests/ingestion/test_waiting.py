"""A part that is started before its resources waits for them, says so, and loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ingestion.waiting import PARTS, wait_for_resources
from loopcast import aws
from tests.conftest import Service
from tests.ingestion.conftest import (
    ROOT,
    Program,
    World,
    create_feature_group,
    create_resources,
    ids,
    transaction,
    until,
)
from tests.ingestion.http_source import HttpSource, listing
from tests.ingestion.test_service import status

PROGRAMS = ("poller", "deduplicator", "feature_writer", "repairer")


def waits(program: Program) -> list[dict[str, str]]:
    return [line for line in program.log() if line["message"] == "waiting for a resource"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_alive_and_not_ready_until_its_resources_are_there(
    bare: World, sagemaker: Service, name: str
) -> None:
    bare.env.update({key: value for key, value in sagemaker.env.items() if key.startswith("AWS_")})
    with HttpSource(listing([transaction(1)])).serving() as server:
        program = bare.start(name, LOOPCAST_SOURCE_URL=server.url)
        until(lambda: len(waits(program)) >= 2)
        assert status(program.url("/healthz")) == 200
        assert status(program.url("/readyz")) == 503
        create_resources(bare.names)
        create_feature_group(bare, sagemaker)
        until(lambda: status(program.url("/readyz")) == 200, 60)


def test_it_says_what_it_waits_for_with_each_look(bare: World) -> None:
    program = bare.start("deduplicator")
    until(lambda: len(waits(program)) >= 2)
    assert {line["resource"] for line in waits(program)} == {f"queue {bare.names.dead_letter_queue}"}
    assert all(line["error"] for line in waits(program))


def test_a_stop_ends_the_wait(bare: World) -> None:
    program = bare.start("deduplicator")
    until(lambda: waits(program))
    assert program.stop() == 0


def test_the_poller_asks_the_source_nothing_while_what_it_publishes_would_be_lost(bare: World) -> None:
    """EventBridge takes events for a bus whose rule has no target, and drops them."""
    create_resources(bare.names)
    rule = {"Rule": bare.names.rule, "EventBusName": bare.names.bus}
    aws.client("events").remove_targets(**rule, Ids=["ingest"])
    with HttpSource(listing([transaction(number) for number in range(100)])).serving() as server:
        program = bare.start("poller", "--source-url", server.url)
        until(lambda: len(waits(program)) >= 2)
        assert waits(program)[-1]["resource"] == f"rule {bare.names.rule}"
        assert server.requests == 0
        target = {"Id": "ingest", "Arn": f"arn:aws:sqs:us-east-1:000000000000:{bare.names.queue}"}
        aws.client("events").put_targets(**rule, Targets=[target])
        until(lambda: server.requests > 0)
        found: set[str] = set()
        until(lambda: found.update(event["hash"] for event in bare.queued()) or found == ids(range(100)))


def test_what_is_there_is_not_waited_for(features: World) -> None:
    for name in PARTS:
        part = features.part(name)
        assert wait_for_resources(part, [name])
        assert part.health.live


def test_the_wait_can_stand_before_another_program(world: World) -> None:
    command = [sys.executable, "-m", "ingestion.waiting", "flink", "deduplicator"]
    done = subprocess.run(command, cwd=ROOT, env=world.env, capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stderr.splitlines()[-1])["message"] == "the resources are there"


def test_an_unknown_part_is_one_sentence() -> None:
    command = [sys.executable, "-m", "ingestion.waiting", "kettle"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'kettle'" in done.stderr
