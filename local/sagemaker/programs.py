"""Programs that run as a container would, each in a folder of its own and in a process group of its own.

What a program is known by is its folder, which stands on its command line: a server that was killed finds its programs
again by it. In the folder: `opt/ml`, which the program sees as /opt/ml; `log`; and `exit_code` once it has ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

CONTRACT = Path(__file__).with_name("contract.sh")
BASE = "/opt/ml"

_ports = threading.Lock()
_recent_ports: list[int] = []


@dataclass
class Program:
    """A program that was started in `folder`; it may have ended since. `process` is the leader of its group."""

    folder: Path
    process: psutil.Process
    _ended: bool = False
    waiting = ""
    reason = ""

    @property
    def began(self) -> float:
        """When it began to run, in seconds since the epoch."""
        return self.process.create_time()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether the program has ended within `seconds`."""
        with suppress(psutil.TimeoutExpired):
            self.process.wait(seconds)
            self.kill()  # what it may have left in its group
            self._ended = True
        return self._ended

    def terminate(self) -> None:
        """SIGTERM to the program and all that it started."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the program and all that it started."""
        self._signal(signal.SIGKILL)

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL after `grace_seconds`; returns when the program has ended."""
        self.terminate()
        if not self.wait(grace_seconds):
            self.kill()
            self.wait(10)

    def _signal(self, number: signal.Signals) -> None:
        if self._ended:
            return  # its number may be another's by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def make_folder(folder: Path) -> Path:
    """An empty folder for a new program; returns what it will see as /opt/ml."""
    shutil.rmtree(folder, ignore_errors=True)
    base = folder / "opt" / "ml"
    base.mkdir(parents=True)
    return base


def start(folder: Path, command: Sequence[str], environment: Mapping[str, str], *, contained: bool = True) -> Program:
    """Starts `command` in `folder`, made by `make_folder`, with `environment` on top of ours; with its own /opt/ml
    when it is `contained`, as far as this machine allows."""
    prefix = namespace_prefix() if contained else None
    base = BASE if prefix is not None else str(folder / "opt" / "ml")
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **environment, "SAGEMAKER_BASE_DIR": base}
    arguments = [argument.replace(BASE, base) for argument in command] if contained else list(command)
    mode = "shared" if prefix is None else "private"
    line = [*(prefix or ()), "sh", str(CONTRACT), str(folder), mode, *arguments]
    # Not subprocess: a program is waited for by its process, whether we started it or a server before us did.
    pid = os.posix_spawnp(line[0], line, variables, setsid=True)
    return Program(folder, psutil.Process(pid))


def base_directory(folder: Path) -> str:
    """What the program in `folder` is told to find its files under."""
    return BASE if namespace_prefix() is not None else str(folder / "opt" / "ml")


def free_port() -> int:
    """A port on which nothing listens, and that was not given a moment ago to a program that doesn't listen yet."""
    with _ports:
        while True:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = int(listener.getsockname()[1])
            if port not in _recent_ports:
                _recent_ports.append(port)
                del _recent_ports[:-100]
                return port


def exit_code(folder: Path) -> int | None:
    """How the program in `folder` ended by itself; None while it runs, and when it was killed."""
    with suppress(OSError):
        return int((folder / "exit_code").read_text())
    return None


def running(state: Path) -> dict[Path, Program]:
    """The programs in folders below `state` that run now, by their folder."""
    return {program.folder: program for program in _programs() if program.folder.is_relative_to(state)}


@cache
def namespace_prefix() -> tuple[str, ...] | None:
    """The command that gives a program a private mount namespace; None where this machine allows none."""
    for prefix in (("unshare", "-m"), ("unshare", "-Urm")):
        if shutil.which("unshare") and _can_mount(prefix):
            return prefix
    return None


def _can_mount(prefix: Sequence[str]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*prefix, "mount", "--rbind", folder, "/opt"], capture_output=True, check=False)
    return done.returncode == 0


def _programs() -> Iterator[Program]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, ValueError, IndexError):
            line = process.cmdline()
            folder = Path(line[line.index(str(CONTRACT)) + 1])
            if process.status() != psutil.STATUS_ZOMBIE and process.pid == os.getpgid(process.pid):
                yield Program(folder, process)
