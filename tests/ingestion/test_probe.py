"""The probe says that events and minutes flow only when they do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler

import pytest

from loopcast.minute import iso_minute
from tests.conftest import free_port
from tests.ingestion.conftest import ROOT, World, transaction, until
from tests.ingestion.http_source import HttpSource, listing


def probe(world: World, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ingestion.probe", *flags]
    return subprocess.Popen(command, cwd=ROOT, env=world.env, stderr=subprocess.PIPE, text=True)


def ended(probing: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = probing.communicate(timeout=60)
    return probing.returncode, said


class Flowing:
    """A source that lists new transactions with each answer."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.answers += 1
        listing([transaction(10 * self.answers + number) for number in range(30)])(handler)


def minute(world: World, start: datetime) -> dict[str, object]:
    metrics = {"transaction_count": 10, "total_fee": 100, "average_fee": 10.0, "average_fee_rate": 1.0}
    return {"series_id": world.feed.name, "minute_start": iso_minute(start), "revision": 0, **metrics}


def test_it_ends_well_once_events_flow(world: World) -> None:
    with HttpSource(Flowing()).serving() as server:
        parts = [world.start("poller", "--source-url", server.url), world.start("deduplicator")]
        flags = ("--poller", parts[0].url(""), "--deduplicator", parts[1].url(""))
        code, said = ended(probe(world, *flags, "--seconds", "50"))
    assert code == 0, said
    assert "everything moves (poller: " in said


def test_it_fails_and_says_what_stands_still(world: World) -> None:
    part = world.start("deduplicator")
    code, said = ended(probe(world, "--deduplicator", part.url(""), "--seconds", "3"))
    assert code == 1
    assert said == "after 3 s: the deduplicator delivered no event\n"


def test_it_fails_when_a_part_does_not_answer(world: World) -> None:
    code, said = ended(probe(world, "--poller", f"http://127.0.0.1:{free_port()}", "--seconds", "1"))
    assert code == 1
    assert "the poller published no event (" in said


def test_a_minute_must_be_written_while_it_looks_and_be_readable(features: World) -> None:
    writer = features.start("feature_writer")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    features.put_records(features.names.minutes_stream, minute(features, start))
    until(lambda: writer.metrics().get("loopcast_feature_writer_written_minutes_total", 0) >= 1)
    url = writer.url("")
    code, said = ended(probe(features, "--feature-writer", url, "--seconds", "3"))
    assert (code, said) == (1, "after 3 s: no newer minute was written to the feature store\n")
    looking = probe(features, "--feature-writer", url, "--seconds", "50")
    minutes = (minute(features, start + timedelta(minutes=number)) for number in range(1, 10_000))
    until(lambda: features.put_records(features.names.minutes_stream, next(minutes)) or looking.poll() is not None, 55)
    assert ended(looking) == (0, "everything moves\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [([], "nothing to watch"), (["--poller", "http://127.0.0.1:1", "--seconds", "0"], "must be above 0")],
)
def test_a_wrong_setting_is_one_sentence(world: World, flags: Sequence[str], said: str) -> None:
    code, told = ended(probe(world, *flags))
    assert code
    assert said in told
