"""Every program says how it is, and goes when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from loopcast.service import STUCK_AFTER, Health, Stop
from tests.conftest import free_port
from tests.ingestion.conftest import ROOT, World, until

PROGRAMS = ["poller", "deduplicator", "feature_writer", "repairer", "replay"]


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_explains_itself(program: str) -> None:
    command = [sys.executable, "-m", f"ingestion.{program}", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--feed" in text
    assert "LOOPCAST_SPEED" in text


def test_a_program_without_its_services_is_alive_but_not_ready_and_stops_when_told(world: World) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    program = world.start("deduplicator", AWS_ENDPOINT_URL=nowhere)
    assert status(program.url("/healthz")) == 200
    assert status(program.url("/readyz")) == 503
    assert status(program.url("/elsewhere")) == 404
    program.process.send_signal(signal.SIGINT)
    program.process.wait(15)
    assert program.log()[-1]["message"] in ("stopped", "a call did not end in time: left it alone")


def test_a_health_check_only_looks(world: World) -> None:
    program = world.start("deduplicator")
    until(lambda: status(program.url("/readyz")) == 200)
    for _ in range(3):
        assert status(program.url("/healthz")) == 200
    assert program.metrics()["loopcast_deduplicator_received_events_total"] == 0
    assert world.records(world.names.events_stream) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--http-port", "99999"], "choose another with --http-port"),
        (["--speed", "0"], "above 0"),
        (["--feed", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_setting_is_one_sentence(flags: list[str], said: str) -> None:
    command = [sys.executable, "-m", "ingestion.poller", "--http-port", "0", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"LOOPCAST_ACCOUNT": "1"})
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_program_that_can_not_learn_its_account_says_what_to_set() -> None:
    environment = os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "LOOPCAST_ACCOUNT": ""}
    command = [sys.executable, "-m", "ingestion.poller", "--http-port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "set LOOPCAST_ACCOUNT" in done.stderr
    assert "Traceback" not in done.stderr


def test_logs_are_json_with_time_level_and_message(world: World) -> None:
    program = world.start("deduplicator")
    program.url("/")
    assert program.stop() == 0
    first = program.log()[0]
    assert first["level"] == "INFO"
    assert first["message"] == "started"
    assert first["time"]
    json.dumps(first)


def test_a_thread_that_stopped_beating_makes_the_program_unhealthy() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    health.beat("one")
    health.beat("two")
    now[0] = STUCK_AFTER - 1
    health.beat("two")
    assert health.live
    now[0] = STUCK_AFTER + 1
    assert not health.live
    health.ended("one")
    assert health.live


def test_work_in_hand_is_tried_again_until_the_grace_is_over() -> None:
    stop = Stop(grace=0.05)
    assert stop.pause(0)
    stop.request()
    assert stop.requested
    assert stop.pause(0.01)
    until(lambda: not stop.pause(0.02), seconds=5)
