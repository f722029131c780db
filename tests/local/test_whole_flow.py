"""The whole flow on a real stack: nothing lost, nothing twice, whatever is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from local import online
from local.audit import Audit
from local.control import ReplayedSource
from local.parts import ROOT, Settings
from local.processes import StackError, require_free_port
from local.stack import Stack
from local.status import describe
from loopcast import aws
from loopcast.feed import load_feed

FEED = ROOT / "feeds" / "bitcoin-fees.yaml"
PARTS_TO_KILL = ("deduplicator", "flink", "feature-writer", "poller", "source", "repairer")
LIMIT = 150.0


def settings(folder: Path) -> Settings:
    chosen = Settings(feed_path=FEED, feed=load_feed(FEED), folder=folder, speed=60.0)
    for first_port in range(20_000, 30_000, 100):
        chosen = replace(chosen, first_port=first_port)
        try:
            for program in Stack(chosen).programs:
                for port in program.ports.values():
                    require_free_port(port, program.name)
        except StackError:
            continue
        return chosen
    raise AssertionError("no nine free ports")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(settings(tmp_path_factory.mktemp("stack")))
    environment = dict(os.environ)
    os.environ.update(found.settings.environment)
    aws.client.cache_clear()
    try:
        found.up(lambda _line: None)
        threading.Thread(target=found.watch, daemon=True).start()
        yield found
    finally:
        found.down()
        os.environ.clear()
        os.environ.update(environment)
        aws.client.cache_clear()


def newest_minute(stack: Stack, source: ReplayedSource) -> datetime:
    runtime = aws.client("sagemaker-featurestore-runtime")
    names = stack.settings.names
    found = online.newest(runtime, names.feature_group, stack.settings.feed.name, source.now())
    return found or source.began()


def await_minutes(stack: Stack, source: ReplayedSource, count: int) -> None:
    """Until `count` further minutes are readable."""
    wanted = newest_minute(stack, source) + timedelta(minutes=count)
    deadline = time.monotonic() + LIMIT
    while newest_minute(stack, source) < wanted:
        assert time.monotonic() < deadline, describe(stack)
        time.sleep(0.2)


def kill(stack: Stack, part: str) -> None:
    """As the kernel does when memory runs out: the part and all that it started, at once."""
    pid = stack.processes.pid(part)
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)


@pytest.mark.timeout(600)
def test_every_minute_is_exact_although_each_part_was_killed(stack: Stack) -> None:
    source = ReplayedSource(stack.settings.url("source"))
    await_minutes(stack, source, 5)
    for part in PARTS_TO_KILL:
        kill(stack, part)
        await_minutes(stack, source, 4)
    source.hold()
    flow = Audit(stack.settings, source).run()
    assert flow.minutes >= 5 + 4 * len(PARTS_TO_KILL) - 1
    assert flow.listed > 1000
    assert (flow.lost, flow.duplicated, flow.wrong_minutes) == (0, 0, 0)
    assert flow.archived == flow.written == flow.listed


def test_the_status_names_every_part_with_its_health(stack: Stack) -> None:
    table = describe(stack)
    for program in stack.programs:
        assert any(line.startswith(program.name) for line in table.splitlines())
    assert "not healthy" not in table
    assert "unknown" not in table
