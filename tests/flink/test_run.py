"""What the supervisor does when the JVM ends, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flink import run
from flink.home import Missing, Setup, assemble
from tests.conftest import Service, free_port
from tests.flink.kinesis import Stream

LIVES = "import time; time.sleep(600)"


class Starts:
    """Starts programs in turn; asks for a stop once the last one runs."""

    def __init__(self, *programs: str) -> None:
        self._programs = list(programs)
        self.stop = threading.Event()
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self) -> subprocess.Popen[bytes]:
        program = self._programs.pop(0)
        self.started.append(subprocess.Popen([sys.executable, "-c", program], start_new_session=True))
        if not self._programs:
            self.stop.set()
        return self.started[-1]


def test_a_jvm_that_ends_is_started_again_and_stopped_when_asked() -> None:
    starts = Starts("raise SystemExit(3)", LIVES)
    assert run.keep_running(starts, starts.stop) == 0
    assert [process.poll() for process in starts.started] == [3, -15]


def test_what_a_jvm_started_ends_with_it() -> None:
    nested = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{LIVES}'], stdout=sys.stdout)"
    with subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE, start_new_session=True) as process:
        process.wait(30)
        run._end(process)
        assert process.stdout is not None
        assert process.stdout.read() == b""  # it would not end while the nested one held it


def test_a_job_that_ends_soon_after_every_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_STARTS", 2)
    starts = Starts("raise SystemExit(1)", "raise SystemExit(1)", LIVES)
    assert run.keep_running(starts, starts.stop) == 1
    assert len(starts.started) == 2


def test_more_shards_than_watermarks_could_be_kept_for_are_refused(aws: Service, tmp_path: Path) -> None:
    stream = Stream(shards=3)
    flags = ["--checkpoints", "s3://any/", "--work-dir", str(tmp_path), "--events-stream", stream.name]
    flags += ["--rest-port", str(free_port()), "--metrics-port", str(free_port()), "--max-shards", "2"]
    done = subprocess.run([sys.executable, "-m", "flink.run", *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"flink.run: {stream.name} has 3 shards, closed ones included: "
        "start with --max-shards 3 or more, or set the feed's stream.max_shards"
    )


def test_an_environment_without_pyflink_is_named(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "bin" / "python", "s3://any/", 10, "0" * 32, 1, 8081, 9105)
    with pytest.raises(Missing, match=r"no PyFlink beside .*: run make \.venv/flink/ready"):
        assemble(tmp_path, setup)
