"""Runs pipelines as processes of this machine: `python -m pipelines.run`, each in a process group of its own.

A run's folder tells everything about it: the process that runs it, how it ended, what it printed. So an operator that
is started again finds the runs of the one before.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from operators.launchers import program, schedule
from operators.launchers.base import LaunchFailed, Progress, Recurring
from operators.launchers.schedule import Latest, Step
from operators.models import iso
from operators.runs import Run, RunState

log = logging.getLogger(__name__)
_children: dict[int, subprocess.Popen[bytes]] = {}
"""The processes that this program has started and not waited for yet."""
STOP_SECONDS = 6.0
"""How long a cancelled run has to stop its jobs before it is killed."""
KEPT = 20
"""How many folders of a recurring pipeline's runs are kept."""
_CANCELLED = 130
_WAIT = 'trap : TERM; "$@"; code=$?; echo $code > "$0.part" && mv "$0.part" "$0"'
"""Leaves the program's exit code in a file, whoever waits for it by then."""


@dataclass(frozen=True)
class LocalLauncher:
    """Pipelines on the feed file `feed`; everything is kept below `folder`. `command` is what runs a pipeline, and
    `compiled` the folder of compiled ones."""

    feed: Path
    folder: Path
    compiled: Path = program.COMPILED
    command: Sequence[str] = (sys.executable, "-m", "pipelines.run")

    def launch(self, run: Run) -> str:
        folder = self._folder(run.id)
        if not (folder / "process.json").exists() and not _adopted(folder, run.pipeline):
            self._start(run.id, run.pipeline, run.arguments)
        return str(folder.absolute())  # so that an operator with another folder finds the run as well

    def progress(self, run: Run) -> Progress:
        return self._progress(self._folder(run.handle or run.id))

    def cancel(self, run: Run) -> None:
        self._stop([self._folder(run.handle or run.id)])

    def cancel_all(self) -> list[str]:
        """Ends every run that goes on, and says which those were."""
        running = [folder for folder in self._folders() if not self._progress(folder).state.over]
        self._stop(running)
        return [folder.name for folder in running]

    def digest(self, pipeline: str) -> str:
        return program.digest(self.compiled, pipeline)

    def ensure_recurring(self, recurring: Recurring, now: datetime) -> bool:
        """Starts a run when one is due: at once, then each interval, one at a time; those that were missed are not made
        up for."""
        known, wall = self._recurring(recurring.name), time.time()
        step = schedule.next_step(self._latest(known) if known else None, recurring.interval, now, wall)
        if known and step is Step.END:
            self._stop([self._folder(known["run"])])
        if step is not Step.START:
            return False
        run = schedule.run_id(recurring.name, now)
        _write(self._schedule(recurring.name), {"run": run, "began": iso(now), "wall": str(wall)})
        with suppress(LaunchFailed):  # the next one may do better
            self._start(run, recurring.pipeline, recurring.arguments)
        self._forget_old(recurring.name)
        return True

    def remove_recurring(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            self._schedule(name).unlink()
            return True
        return False

    def _start(self, run_id: str, pipeline: str, arguments: Mapping[str, str]) -> None:
        folder = self._folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        call = program.arguments(pipeline, self.feed, run_id, folder, arguments)
        command = ["sh", "-c", _WAIT, str(folder / "exit"), *self.command, *call]
        try:
            with (folder / "output.log").open("ab") as output:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        except OSError as error:
            raise LaunchFailed(f"The program could not be started ({error}).") from error
        _children[process.pid] = process
        _remember(folder, psutil.Process(process.pid), pipeline)  # it is there until it is waited for
        log.info("started", extra={"pipeline": pipeline, "run_id": run_id, "pid": process.pid})

    def _progress(self, folder: Path) -> Progress:
        if _alive(folder):
            return Progress(RunState.RUNNING)
        try:
            code = int((folder / "exit").read_text())
        except (OSError, ValueError):
            state = RunState.CANCELED if (folder / "cancelled").exists() else RunState.FAILED
            return Progress(state, "Its process was killed.")
        if code == 0:
            return Progress(RunState.SUCCEEDED)
        state = RunState.CANCELED if code == _CANCELLED or (folder / "cancelled").exists() else RunState.FAILED
        return Progress(state, _last_line(folder / "output.log") or f"It ended with {code}.")

    def _stop(self, folders: Iterable[Path]) -> None:
        """SIGTERM to each run's process group; then SIGKILL to what is left."""
        stopping = [folder for folder in folders if _alive(folder)]
        for folder in stopping:
            (folder / "cancelled").touch()
            _signal(folder, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(_alive(folder) for folder in stopping) and time.monotonic() < deadline:
            time.sleep(0.05)
        for folder in stopping:
            _signal(folder, signal.SIGKILL)
            _wait(folder)

    def _forget_old(self, name: str) -> None:
        for folder in sorted(self._folders(f"{schedule.short_name(name)}-*"))[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, run_id: str) -> Path:
        return self.folder / "runs" / run_id

    def _folders(self, pattern: str = "*") -> list[Path]:
        return [path.parent for path in (self.folder / "runs").glob(f"{pattern}/process.json")]

    def _schedule(self, name: str) -> Path:
        return self.folder / "recurring" / f"{name}.json"

    def _latest(self, known: Mapping[str, str]) -> Latest:
        over = self._progress(self._folder(known["run"])).state.over
        return Latest(datetime.fromisoformat(known["began"]), float(known["wall"]), over)

    def _recurring(self, name: str) -> dict[str, str] | None:
        with suppress(OSError, ValueError):
            return dict(json.loads(self._schedule(name).read_text()))
        return None


def _write(path: Path, document: Mapping[str, object]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document), encoding="utf-8")
    part.replace(path)


def _remember(folder: Path, process: psutil.Process, pipeline: str) -> None:
    _write(folder / "process.json", {"pid": process.pid, "began": process.create_time(), "pipeline": pipeline})


def _adopted(folder: Path, pipeline: str) -> bool:
    """Whether the run goes on already: an operator may have been killed between starting it and writing so down."""
    for process in psutil.process_iter(["cmdline"]):
        if str(folder / "exit") in (process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                _remember(folder, process, pipeline)
                return True
    return False


def _process(folder: Path) -> psutil.Process | None:
    """The run's first process, if it is still that one and not a later one of the same number."""
    with suppress(OSError, ValueError, KeyError, psutil.Error):
        known = json.loads((folder / "process.json").read_text())
        process = psutil.Process(known["pid"])
        if abs(process.create_time() - known["began"]) < 1:
            return process
    return None


def _alive(folder: Path) -> bool:
    process = _process(folder)
    if process is None:
        return False
    if (child := _children.get(process.pid)) is not None and child.poll() is not None:
        del _children[process.pid]
        return False
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _signal(folder: Path, number: signal.Signals) -> None:
    known = json.loads((folder / "process.json").read_text())
    with suppress(ProcessLookupError):
        os.killpg(known["pid"], number)


def _wait(folder: Path) -> None:
    """Until the killed process is gone, where it is this program's own."""
    child = _children.pop(json.loads((folder / "process.json").read_text())["pid"], None)
    if child is not None:
        child.wait()


def _last_line(path: Path) -> str:
    with suppress(OSError):
        return program.last_line(path.read_text(encoding="utf-8", errors="replace"))
    return ""
