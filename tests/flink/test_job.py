"""The job on a real Flink, from and to a real Kinesis: counted once, in the right minute, whatever is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from flink.checkpoints import job_id, newest
from loopcast.aws import client
from tests.conftest import Service
from tests.flink.supervisor import Supervisor
from tests.flink.traffic import (
    POISON,
    START,
    all_written,
    bitcoin_minutes,
    event,
    events_of,
    harbour_minutes,
    late,
    put_minutes,
    truth_of,
    written,
)
from tests.flink.truth import MINUTE, Truth

BITCOIN = Path("feeds/bitcoin-fees.yaml")
HARBOUR = Path("tests/flink/harbour.yaml")
CHECKPOINTS = "s3://flink-tests/checkpoints/"


@pytest.fixture(scope="module")
def jobs(aws: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Supervisor, Supervisor]]:
    """The default feed's job on one shard and another feed's on two, begun together on full streams."""
    client("s3").create_bucket(Bucket="flink-tests")
    folder = tmp_path_factory.mktemp("flink")
    bitcoin = Supervisor(BITCOIN, CHECKPOINTS, folder / "bitcoin", shards=1, lateness=30_000)
    harbour = Supervisor(HARBOUR, CHECKPOINTS, folder / "harbour", shards=2, lateness=20_000)
    put_minutes(bitcoin, 0, 8, seed=1)
    put_edge_of_lateness(bitcoin)
    put_minutes(harbour, 0, 8, seed=2)
    try:
        bitcoin.start()
        harbour.start()
        yield bitcoin, harbour
    finally:
        bitcoin.clean_up()
        harbour.clean_up()


def test_each_event_is_counted_once_in_its_minute_or_reported_late(jobs: tuple[Supervisor, Supervisor]) -> None:
    bitcoin, _ = jobs
    expected = truth_of(bitcoin)
    assert expected.late, "the test has late events"
    assert any(sum(event["fee"] for event in events) > 2**31 for events in expected.minutes.values())
    wait_for(bitcoin, expected)
    assert written(bitcoin, BITCOIN) == bitcoin_minutes(expected)
    assert late(bitcoin, "bitcoin-fees") == expected.late
    assert {"late-by-a-hair", "in-time-by-a-hair"} & set(expected.late) == {"late-by-a-hair"}


def test_records_read_and_written_are_exported_as_metrics(jobs: tuple[Supervisor, Supervisor]) -> None:
    bitcoin, _ = jobs
    expected = truth_of(bitcoin)
    wait_for(bitcoin, expected)
    metrics = bitcoin.metrics()
    assert metrics is not None
    readable = [record for record in bitcoin.events.read()[0] if record.startswith(b"{") and record != POISON[0]]
    assert metrics.records_in == len(readable)
    assert (metrics.records_out, metrics.late, metrics.dropped) == (len(expected.minutes), len(expected.late), 0)
    assert metrics.watermark == max(event["time"] for event in events_of(bitcoin)) - 30_000
    states = requests.get(f"http://127.0.0.1:{bitcoin.rest_port}/jobs/overview", timeout=5).json()["jobs"]
    assert [(state["jid"], state["state"]) for state in states] == [(job_id("bitcoin-fees"), "RUNNING")]


def test_a_port_in_use_is_said_in_one_sentence(jobs: tuple[Supervisor, Supervisor]) -> None:
    bitcoin, _ = jobs
    bitcoin.wait_until("job", bitcoin.metrics)
    done = subprocess.run(bitcoin.command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"flink.run: port {bitcoin.rest_port} is in use: stop what listens there, or choose another --rest-port"
    )


def test_nothing_is_missing_or_wrong_after_kills_of_the_supervisor_and_of_the_jvm(
    jobs: tuple[Supervisor, Supervisor],
) -> None:
    _, harbour = jobs
    wait_for(harbour, truth_of(harbour))
    wait_for_checkpoint(harbour)
    assert dropped(harbour) == 0

    harbour.kill()
    # What is read first after the restore is late, when there is no watermark yet to tell so; then come repeats.
    lines = [event(f"after-restore-{shard}", START + 1, 7) for shard in range(2)]
    harbour.events.put_in_every_shard(lines)
    put_minutes(harbour, 8, 12, seed=3, repeated=events_of(harbour))
    harbour.start()
    wait_for(harbour, truth_of(harbour))
    assert {"after-restore-0", "after-restore-1"} <= set(late(harbour, "harbour-loads"))
    assert dropped(harbour) == 0

    put_minutes(harbour, 12, 14, seed=4)
    harbour.kill_jvm()
    put_minutes(harbour, 14, 18, seed=5, repeated=events_of(harbour))
    expected = truth_of(harbour)
    wait_for(harbour, expected)
    assert written(harbour, HARBOUR) == harbour_minutes(expected)
    assert late(harbour, "harbour-loads") == expected.late
    assert dropped(harbour) == 0


def test_it_stops_on_sigterm_and_leaves_no_process(jobs: tuple[Supervisor, Supervisor]) -> None:
    for job in jobs:
        assert len(job.children()) == 2, "the JVM and the job's client"
        assert job.stop() == 0


def put_edge_of_lateness(job: Supervisor) -> None:
    """An event in the last millisecond in which its minute is open at a lateness of 30 s, and one in the next."""
    end = START + 10 * MINUTE
    times = {
        "a-millisecond-before": end - 1 + 30_000 - 1,
        "in-time-by-a-hair": end - 1,
        "on-the-edge": end - 1 + 30_000,
        "late-by-a-hair": end - 1,
        "beyond": end + 2 * MINUTE,
    }
    for identifier, time in times.items():
        job.events.put([(identifier, event(identifier, time, 1))])


def wait_for(job: Supervisor, expected: Truth) -> None:
    job.wait_until(
        f"{len(expected.minutes)} minutes and {len(expected.late)} late events",
        lambda: all_written(job, expected),
    )


def wait_for_checkpoint(job: Supervisor) -> None:
    """Until one is complete that began from now on."""
    before = checkpoint_number()
    job.wait_until("checkpoint", lambda: checkpoint_number() >= before + 2)


def checkpoint_number() -> int:
    checkpoint = newest(CHECKPOINTS, job_id("harbour-loads"))
    return int(checkpoint.rpartition("-")[2]) if checkpoint else 0


def dropped(job: Supervisor) -> int:
    metrics = job.metrics()
    assert metrics is not None
    return metrics.dropped
