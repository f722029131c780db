"""Starts, watches and stops the programs of the laptop stack.

Each program leads a process group of its own, so that whatever it starts stops with it; its pid and start time lie in a
file, so that a later command finds it again and never takes a stranger with a recycled pid for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

STOP_SECONDS = 15.0
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MARK = "LOOPCAST_STACK"
"""An environment variable that every process of a stack inherits: its value is the stack's folder."""


class StackError(RuntimeError):
    """Something in the stack can't go on; the message is for the user."""


@dataclass(frozen=True)
class Program:
    """One long-running program: it is up when `health` (a URL) answers 200, within `start_seconds`."""

    name: str
    command: Sequence[str]
    ports: Mapping[str, int]
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 60.0


class Processes:
    """The processes of one stack, under its folder: `run/` has a file for each, `log/` what they say."""

    def __init__(self, folder: Path) -> None:
        self._run, self._log, self._mark = folder / "run", folder / "log", str(folder.resolve())
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log_of(self, name: str) -> Path:
        return self._log / f"{name}.log"

    def start(self, program: Program) -> None:
        """Starts `program` unless it runs; returns at once. Raises `StackError` when a port is taken."""
        if self.pid(program.name):
            return
        require_free_ports(program)
        self._run.mkdir(parents=True, exist_ok=True)
        self._log.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **program.environment, MARK: self._mark}
        with self.log_of(program.name).open("ab") as log:
            child = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._children[program.name] = child
        self._remember(program.name, child.pid, program.command)

    def enter(self, name: str) -> None:
        """Enters this very process under `name`, so that another command finds it, and can stop it."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._remember(name, os.getpid(), sys.argv)

    def wait_until_healthy(self, program: Program) -> None:
        """Returns once `program` is up; raises `StackError` with the end of its log when it isn't in time."""
        deadline = time.monotonic() + program.start_seconds
        while not healthy(program.health):
            if not self.pid(program.name):
                raise StackError(f"{program.name} stopped while starting:\n{self.last_lines(program.name)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{program.name} is not up after {program.start_seconds:.0f} s:\n{self.last_lines(program.name)}"
                )
            time.sleep(0.1)

    def pid(self, name: str) -> int | None:
        """The pid of the running program, or None."""
        child = self._children.get(name)
        if child is not None:
            return child.pid if child.poll() is None else None
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads(self._file(name).read_text())
            if _running(record["pid"], record["started"]):
                return int(record["pid"])
        return None

    def names(self) -> list[str]:
        """The programs that were started and not stopped, oldest first."""
        files = sorted(self._run.glob("*.json"), key=lambda file: file.stat().st_mtime)
        return [file.stem for file in files]

    def stop(self, name: str) -> None:
        """SIGTERM to the program, SIGKILL to its whole group if it doesn't end in time."""
        pid = self.pid(name)
        if pid is not None and pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            self._await_end(name, pid)
            _signal_group(pid, signal.SIGKILL)
        child = self._children.pop(name, None)
        if child is not None:
            child.wait()
        self._file(name).unlink(missing_ok=True)

    def stop_all(self) -> None:
        """Stops every program, the newest first, then what else of the stack is left. No Ctrl-C ends it early."""
        with _uninterrupted():
            for name in reversed(self.names()):
                self.stop(name)
            for process in self.strays():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def strays(self) -> list[psutil.Process]:
        """Processes that carry the stack's mark, other than this one and its ancestors."""
        mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid not in mine and process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found

    def last_lines(self, name: str, count: int = 15) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log_of(name).read_text(errors="replace").splitlines()[-count:])
        return ""

    def _await_end(self, name: str, pid: int) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid(name) == pid and time.monotonic() < deadline:
            time.sleep(0.05)

    def _remember(self, name: str, pid: int, command: Sequence[str]) -> None:
        record = {"pid": pid, "started": psutil.Process(pid).create_time(), "command": list(command)}
        self._file(name).write_text(json.dumps(record))

    def _file(self, name: str) -> Path:
        return self._run / f"{name}.json"


def require_free_ports(program: Program) -> None:
    """Raises `StackError` when something listens on one of the ports of `program`."""
    for use, port in program.ports.items():
        require_free_port(port, program.name if use == program.name else f"{program.name} ({use})")


def require_free_port(port: int, user: str) -> None:
    """Raises `StackError` when something listens on `port` of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StackError(
                f"port {port}, which {user} needs, is in use: stop what listens there, "
                "or set PORT to another first port (make demo PORT=5566)"
            ) from None


def healthy(url: str) -> bool:
    """Whether `url` answers 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Lets no signal that asks for an end cut short what is already ending things."""
    if threading.current_thread() is not threading.main_thread():  # only that one is interrupted
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _running(pid: int, started: float) -> bool:
    """Whether `pid` is still the process that began at `started` (seconds since the epoch)."""
    try:
        process = psutil.Process(pid)
        return process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
