"""`python -m flink.run` as a program of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from flink.metrics import FlinkMetrics, read
from tests.conftest import free_port
from tests.flink.kinesis import Stream

SECONDS = 150


class Supervisor:
    """The program over streams of its own; it can be killed and started again."""

    def __init__(self, feed: Path, checkpoints: str, work_dir: Path, shards: int, lateness: int) -> None:
        self.events, self.minutes, self.late = Stream(shards), Stream(), Stream()
        self.rest_port, self.metrics_port = free_port(), free_port()
        self.work_dir, self.lateness = work_dir, lateness
        self.command = [
            *(sys.executable, "-m", "flink.run", "--feed", str(feed)),
            *("--checkpoints", checkpoints, "--checkpoint-interval", "1", "--work-dir", str(work_dir)),
            *("--rest-port", str(self.rest_port), "--metrics-port", str(self.metrics_port)),
            *("--max-shards", str(shards), "--events-stream", self.events.name),
            *("--minutes-stream", self.minutes.name, "--late-stream", self.late.name),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = work_dir.with_suffix(".log")

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """SIGKILL to the program alone; returns once what it started is gone too."""
        children = self.children()
        self._running().kill()
        self._running().wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, f"left behind: {alive}"

    def kill_jvm(self) -> None:
        """SIGKILL to the JVM alone."""
        next(child for child in self.children() if child.name() == "java").kill()

    def stop(self) -> int:
        """SIGTERM; the exit code, once what it started is gone too."""
        children = self.children()
        self._running().terminate()
        code = self._running().wait(20)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive, f"left behind: {alive}"
        return code

    def clean_up(self) -> None:
        """Ends the program, whatever state it is in."""
        if self._process and self._process.poll() is None:
            for child in self.children():
                child.kill()
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self._running().pid).children(recursive=True)

    def metrics(self) -> FlinkMetrics | None:
        """The job's metrics, or None when it doesn't run yet."""
        try:
            return read(self.metrics_port)
        except requests.RequestException:
            return None

    def wait_until(self, what: str, reached: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not reached():
            assert self._running().poll() is None, f"it ended:\n{self._ends()}"
            assert time.monotonic() < deadline, f"no {what} in {SECONDS} s:\n{self._ends()}"
            time.sleep(0.5)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process, "not started"
        return self._process

    def _ends(self) -> str:
        files = [self._log, *self.work_dir.glob("log/*")]
        return "\n".join(f"{file}:\n{file.read_text(errors='replace')[-2000:]}" for file in files)
