"""Pipelines as processes of this machine, with a real program in their place."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from operators.launchers.base import Recurring
from operators.launchers.local import KEPT, LocalLauncher
from operators.runs import Run, RunState
from tests.operators.launchers import NOON, Contract, over, run, until

PROGRAM = """
import json, os, signal, subprocess, sys, time
pipeline, *flags = sys.argv[1:]
given = dict(flag.lstrip("-").split("=") if "=" in flag else (flag.lstrip("-"), None) for flag in flags)
with open(os.environ["STARTS"], "a") as file:
    file.write(json.dumps([os.getpid(), pipeline, flags]) + "\\n")
if pipeline == "broken":
    sys.exit("loopcast: The step train failed: it is broken.")
if pipeline == "endless":
    def stop(*_):
        print("the jobs were stopped")
        sys.exit(130)
    signal.signal(signal.SIGTERM, stop)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    while True:
        time.sleep(0.01)
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalLauncher]:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "starts").touch()
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    made = LocalLauncher(
        tmp_path / "feed.yaml", tmp_path, tmp_path / "ir", (sys.executable, str(tmp_path / "program.py"))
    )
    yield made
    made.cancel_all()


@dataclass
class Processes:
    launcher: LocalLauncher

    def starts(self) -> int:
        return len(starts(self.launcher))

    def another(self) -> LocalLauncher:
        return replace(self.launcher)


class TestLocal(Contract):
    @pytest.fixture
    def place(self, launcher: LocalLauncher) -> Processes:
        return Processes(launcher)

    def settle(self, place: Processes) -> None:
        folders = place.launcher._folders()
        until(lambda: all(place.launcher.progress(run("monitor", folder.name)).state.over for folder in folders))


def starts(launcher: LocalLauncher) -> list[tuple[int, str, list[str]]]:
    return [tuple(json.loads(line)) for line in (launcher.folder / "starts").read_text().splitlines()]


def test_a_run_gets_its_feed_its_name_and_its_arguments(launcher: LocalLauncher) -> None:
    launched = run("build", lookback_days="7", poll_interval="0.2")
    launcher.launch(launched)
    assert over(Processes(launcher), launched) is RunState.SUCCEEDED
    [(_, pipeline, flags)] = starts(launcher)
    output = launcher.folder / "runs" / "fees-retrain-1"
    assert pipeline == "build"
    assert flags == [
        *("--feed", str(launcher.feed), "--run-id", "fees-retrain-1", "--output", str(output)),
        *("--lookback-days=7", "--poll-interval=0.2"),
    ]


def test_a_run_whose_operator_was_killed_before_it_wrote_the_start_down_is_adopted(launcher: LocalLauncher) -> None:
    launched = run("endless")
    launcher.launch(launched)
    until(lambda: bool(starts(launcher)))
    known = launcher.folder / "runs" / launched.id / "process.json"
    before = known.read_text()
    known.unlink()
    launcher.launch(launched)
    assert json.loads(known.read_text())["pid"] == json.loads(before)["pid"]
    assert launcher.progress(launched).state is RunState.RUNNING
    assert len(starts(launcher)) == 1


def test_an_operator_with_another_folder_finds_the_run_and_can_end_it(launcher: LocalLauncher, tmp_path: Path) -> None:
    """Else it would take what runs for failed, and launch it once more."""
    launched = run("endless")
    claimed = replace(launched, handle=launcher.launch(launched))
    other = replace(launcher, folder=tmp_path / "other")
    assert other.progress(claimed).state is RunState.RUNNING
    until(lambda: bool(starts(launcher)))
    other.cancel(claimed)
    assert launcher.progress(launched).state is RunState.CANCELED


def test_a_run_whose_process_was_killed_has_failed(launcher: LocalLauncher) -> None:
    launched = run("endless")
    launcher.launch(launched)
    known = json.loads((launcher.folder / "runs" / launched.id / "process.json").read_text())
    os.killpg(known["pid"], signal.SIGKILL)
    assert over(Processes(launcher), launched) is RunState.FAILED


def test_an_operator_that_is_started_again_finds_its_runs_and_can_end_them_with_all_they_started(
    launcher: LocalLauncher,
) -> None:
    launched = run("endless")
    launcher.launch(launched)
    until(lambda: bool(starts(launcher)) and len(_family(launcher, launched)) == 3)
    family = _family(launcher, launched)
    again = replace(launcher)
    assert again.progress(launched).state is RunState.RUNNING
    again.cancel(launched)
    assert again.progress(launched).state is RunState.CANCELED
    assert "the jobs were stopped" in (launcher.folder / "runs" / launched.id / "output.log").read_text()
    until(lambda: not any(process.is_running() and process.status() != "zombie" for process in family))
    assert again.cancel_all() == []


def _family(launcher: LocalLauncher, launched: Run) -> list[psutil.Process]:
    known = json.loads((launcher.folder / "runs" / launched.id / "process.json").read_text())
    first = psutil.Process(known["pid"])
    return [first, *first.children(recursive=True)]


def test_old_folders_of_a_recurring_pipeline_go(launcher: LocalLauncher) -> None:
    hourly = Recurring("fees-monitor-staging", "broken", timedelta(hours=1))
    for hour in range(KEPT + 3):
        folder = launcher.folder / "runs" / f"fees-monitor-staging-26111{hour:07d}"
        folder.mkdir(parents=True)
        (folder / "process.json").write_text("{}")
    launcher.ensure_recurring(hourly, NOON)
    assert len(launcher._folders("fees-monitor-staging-*")) == KEPT


def test_the_compiled_pipeline_is_known_by_its_content(launcher: LocalLauncher) -> None:
    assert launcher.digest("build") == ""
    launcher.compiled.mkdir()
    (launcher.compiled / "build.yaml").write_text("one")
    one = launcher.digest("build")
    (launcher.compiled / "build.yaml").write_text("two")
    assert one != launcher.digest("build") != ""
