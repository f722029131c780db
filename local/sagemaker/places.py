"""Where programs run: as processes of this machine, or (`local.sagemaker.kubernetes`) in pods of a cluster.

Wherever that is, each program has a folder of its own in this server's state: what lies in its `opt/ml` is what the
program finds in /opt/ml, and what it leaves there is there once it has ended, beside its `log` and its `exit_code`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.routing import BaseRoute

from local.sagemaker import hosts, programs
from local.sagemaker.images import Image


@dataclass(frozen=True)
class Task:
    """What is to run in `folder`: the image's own program with `arguments`, or `entrypoint` in its place. It runs once
    on each of `names`; a server runs `count` times behind one address. `instance` is the type that was asked for."""

    folder: Path
    image: Image
    arguments: Sequence[str]
    environment: Mapping[str, str]
    entrypoint: Sequence[str] = ()
    names: Sequence[str] = (hosts.LEADER,)
    instance: str = ""
    count: int = 1


class Program(Protocol):
    """A program that was started in `folder`; it may have ended since."""

    @property
    def folder(self) -> Path: ...

    @property
    def began(self) -> float:
        """When it began to run, in seconds since the epoch."""

    @property
    def waiting(self) -> str:
        """Why it doesn't run yet, in words; empty when it does."""

    @property
    def reason(self) -> str:
        """What its place knows of why it ended without an exit code, in words; empty when it knows nothing."""

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself, also when its place has started it again since or is about to."""

    def wait(self, seconds: float) -> bool:
        """Whether the program has ended within `seconds`, for good."""

    def terminate(self) -> None:
        """Asks the program to end; returns at once."""

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL after `grace_seconds`; returns when the program has ended."""


class Place(Protocol):
    """Where this server's programs run. `tends` says whether it looks after them by itself: then they go on while no
    server runs, and servers that end are started again. `interface` is the network interface that a program sees."""

    tends: bool
    interface: str

    def base_directory(self, folder: Path) -> str:
        """What the program in `folder` is told to find its files under."""

    def refusal(self, count: int) -> str | None:
        """Why a job can't have so many instances; None when it can."""

    def start(self, task: Task) -> Program:
        """Starts the task, whose folder `programs.make_folder` has made. Raises `UnknownImage`."""

    def port(self) -> int:
        """Where a server that is started next is to listen."""

    def serve(self, task: Task, port: int) -> Program:
        """Starts a server, which listens on `port`. Raises `UnknownImage`."""

    def address(self, program: Program) -> str:
        """The host at which a server is reached."""

    def running(self) -> Mapping[Path, Program]:
        """The programs that run now, or ended while no server looked, by their folder."""

    def routes(self) -> Sequence[BaseRoute]:
        """What this server answers beside the API."""


class Machine:
    """This machine: programs are processes, in folders below `state`."""

    tends = False
    interface = "lo"

    def __init__(self, state: Path) -> None:
        self._state = state

    def base_directory(self, folder: Path) -> str:
        return programs.base_directory(folder)

    def refusal(self, count: int) -> str | None:
        if count > 1 and programs.namespace_prefix() is None:
            return "This machine gives programs no mount namespaces: train on 1 instance."
        return None

    def start(self, task: Task) -> Program:
        command, names = _line(task), list(task.names)
        environment = {**task.image.environment, **task.environment}
        if len(names) == 1:
            return programs.start(task.folder, command, environment)
        line = hosts.command(task.folder, names, command)
        return programs.start(task.folder, line, environment, contained=False)

    def port(self) -> int:
        return programs.free_port()

    def serve(self, task: Task, port: int) -> Program:
        return self.start(task)

    def address(self, program: Program) -> str:
        return "127.0.0.1"

    def running(self) -> Mapping[Path, Program]:
        return programs.running(self._state)

    def routes(self) -> Sequence[BaseRoute]:
        return ()


def _line(task: Task) -> list[str]:
    if task.entrypoint:
        return task.image.entrypoint([*task.entrypoint, *task.arguments])
    return task.image.command(*task.arguments)
