"""The simulation with real programs: real trainings, real answers, on a small synthetic recording."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.history import History
from local.simulate.alarm import AlarmRule
from local.simulate.build import Plan
from local.simulate.containers import Containers
from local.simulate.loop import Record
from local.simulate.models import Models
from local.simulate.recording import to_history
from local.simulate.simulation import CLOSED, Simulation, grid
from local.source.recordings import Levels
from loopcast.feed import load_feed
from operators.retraining_spec import RetrainingSpec, Triggers

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data" / "mempool-5min-2025-03-05--2025-04-25.parquet"
DAY, HORIZON = 288, 30
START = 1_741_132_800
SMALL = "--days 5 --warm-up 4 --lookback 4 --windows 8 --cooldown 1d --candidates boosted"
REPORTED = {
    *("served_loss", "baselines", "never_retrain_loss", "daily_retrain_loss", "retrainings"),
    *("useful_retrainings", "fresh_breaches", "alarm_precision"),
}


def _levels(days: int, change: float | None = None) -> Levels:
    """A daily wave with noise; at the day `change` its level triples and its noise grows."""
    steps = np.arange(days * DAY)
    noise = np.random.default_rng(3).normal(size=len(steps))
    later = steps >= (change or days) * DAY
    fees = (
        (1000 + 200 * np.sin(2 * np.pi * steps / DAY)) * np.where(later, 3, 1) * np.exp(0.1 * noise * (1 + 4 * later))
    )
    return Levels(START + 300 * steps, np.full(len(steps), 100.0), fees)


def _write(path: Path, levels: Levels) -> Path:
    columns = {"timestamp": levels.times, "mempool_blocks_nTx": levels.counts}
    pq.write_table(pa.table({**columns, "mempool_blocks_totalFees": levels.fees * levels.counts}), path)
    return path


@contextmanager
def _simulation(history: History, folder: Path) -> Iterator[Simulation]:
    """With the packaged empirical baseline for its only model."""
    feed = load_feed(ROOT / "feeds" / "bitcoin-fees.yaml")
    containers = Containers(folder)
    plan = Plan(candidates=(), lookback=3 * DAY, windows=8, stride=36)
    windows = grid(history, feed.forecast.steps, timedelta(days=3))
    try:
        yield Simulation(feed, history, Models(feed, history, containers, 2, None), plan, AlarmRule(2, 3), windows)
    finally:
        containers.close()


def test_what_comes_later_changes_nothing_of_what_was_decided_before(tmp_path: Path) -> None:
    """No training, threshold, forecast or decision may see what has not come; and the same past gives the same."""
    history = to_history(_levels(days=6, change=4.5))
    later = 5 * DAY
    other = replace(history, target=np.concatenate([history.target[:later], 7 * history.target[later:]]))
    ours, theirs = (_closed_loop(one, tmp_path / str(number)) for number, one in enumerate((history, other)))
    known = [point for point in ours.points if point.origin + HORIZON <= later]
    assert theirs.points[: len(known)] == known
    assert ours.points != theirs.points
    before = [run.build.losses for run in ours.retrainings if run.launched <= later]
    assert before, "the change must have made the operator retrain"
    assert [run.build.losses for run in theirs.retrainings][: len(before)] == before


def _closed_loop(history: History, folder: Path) -> Record:
    spec = RetrainingSpec(feed="a-feed", triggers=Triggers(alarms=("the-alarm",)), cooldown=timedelta(days=1))
    with _simulation(history, folder) as simulation:
        return simulation.run({CLOSED: spec}, lambda _: None)[CLOSED]


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "local.simulate", *map(str, arguments)]


def test_a_simulation_leaves_its_account_and_a_page_that_shows_it(tmp_path: Path) -> None:
    recording = _write(tmp_path / "recording.parquet", _levels(days=6, change=4.3))
    output = tmp_path / "output"
    done = subprocess.run(
        _command("--recording", recording, "--output", output, *SMALL.split()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((output / "report.json").read_text())
    assert set(report) >= REPORTED
    assert report["windows"] == 8
    assert report["retrainings"] == len(report["policies"]["closed_loop"]["runs"]) > 0
    losses = [*report["baselines"].values(), report["served_loss"], report["never_retrain_loss"]]
    assert all(0 < loss < 1 for loss in losses)
    assert {"boosted", "empirical"} == set(report["trainings"])
    page = (output / "report.html").read_text()
    assert "<svg" in page
    assert f"{report['served_loss']:.4f}" in page
    assert "done in" in done.stdout


def test_an_interrupt_leaves_no_program_running_and_nothing_behind(tmp_path: Path) -> None:
    recording = _write(tmp_path / "recording.parquet", _levels(days=6))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        _command("--recording", recording, "--output", tmp_path / "output", "--warm-up", "4", "--windows", "8"),
        env=os.environ | {"TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    _wait_for(lambda: _programs(scratch))
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "stopped" in said
    assert _programs(scratch) == []
    assert list(scratch.iterdir()) == []


def _programs(folder: Path) -> list[psutil.Process]:
    """What runs in folders below `folder`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(part.startswith(str(folder)) for part in process.cmdline()):
                found.append(process)
    return found


def _wait_for(condition: Callable[[], object]) -> None:
    while not condition():  # the test's own time limit ends it
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "make simulate RECORDING=FILE"),
        (["--recording", "/nowhere.parquet"], "/nowhere.parquet can't be read: No such file"),
        (["--recording", str(ROOT / "README.md")], "neither a parquet file"),
    ],
)
def test_a_recording_that_is_missing_or_none_is_named_in_a_sentence(arguments: list[str], said: str) -> None:
    done = subprocess.run(_command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.shared
def test_on_the_real_recording_the_served_model_beats_the_best_baseline(tmp_path: Path) -> None:
    sizes = ["--days", "13", "--warm-up", "10", "--candidates", "statistical"]
    subprocess.run(_command("--recording", SHARED, "--output", tmp_path, *sizes), check=True)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["served_loss"] < min(report["baselines"].values())
