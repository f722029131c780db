"""Snapshots of what ministack holds in memory: all services at one moment, complete or not there.

A snapshot is written by a forked child, which has the memory of that moment to itself: the server goes on at once,
and no service is a request ahead of another.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ministack.core.persistence import _json_default, _state_format_version
from prometheus_client import Summary

T = TypeVar("T")

log = logging.getLogger(__name__)
_SECONDS = Summary("aws_snapshot_seconds", "Time to write a snapshot")

States = Mapping[str, Callable[[], Any]]


class Snapshots:
    """The snapshots in `folder`: each a folder of its own with a JSON file a service, named for its time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._child = 0
        self._stopped = False
        self._child_ended = threading.Event()
        self._child_ended.set()

    def newest(self) -> Path:
        """The newest complete snapshot; a folder that isn't there when there is none."""
        return max(self._complete(), default=self._folder / "none")

    def write_last(self, states: States) -> None:
        """Writes the snapshot of a server that stops, in the place of one that a child may be writing."""
        if not self._child_ended.is_set():
            self._stopped = True
            os.kill(self._child, signal.SIGKILL)
            self._child_ended.wait()
        self.write(states)

    def write(self, states: States) -> None:
        """Writes what each function in `states` (by service) returns, then drops the older snapshots."""
        partial = self._folder / f"partial-{os.getpid()}"
        partial.mkdir()
        for service, state in states.items():
            content = {"__ministack_format__": _state_format_version(service), "payload": state()}
            # json.dumps encodes in C, which json.dump, that ministack itself uses, doesn't.
            (partial / f"{service}.json").write_text(json.dumps(content, default=_encoded))
        older = [path for path in self._folder.iterdir() if path != partial]
        partial.rename(self._folder / f"{time.time_ns():020d}")
        for path in older:
            shutil.rmtree(path)

    async def write_in_child(self, states: States) -> None:
        """Writes a snapshot of this moment from a child process; returns when it is done."""
        started = time.perf_counter()
        self._child_ended.clear()
        self._child = os.fork()
        if self._child == 0:
            self._write_and_exit(states)
        status = await asyncio.to_thread(self._await_child)
        if status != 0 and not self._stopped:
            log.error("a snapshot failed", extra={"status": status})
        _SECONDS.observe(time.perf_counter() - started)

    def _await_child(self) -> int:
        _, status = os.waitpid(self._child, 0)
        self._child_ended.set()
        return status

    def _write_and_exit(self, states: States) -> None:
        """What the child does: it must not return into the server's own code, nor hold its sockets open."""
        try:
            os.nice(10)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            # The child's memory is a copy already: the services needn't copy theirs.
            copy.deepcopy = _itself
            self.write(states)
            os._exit(0)
        except BaseException as error:
            os.write(2, f'{{"levelname": "ERROR", "message": "a snapshot failed: {error!r}"}}\n'.encode())
            os._exit(1)

    def _complete(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.name.isdigit()]


def _encoded(value: Any) -> Any:
    """What JSON lacks, as ministack reads it again; what even ministack doesn't know (a date in a query's result), as
    text: one service's value must not cost the snapshot."""
    try:
        return _json_default(value)
    except TypeError:
        return str(value)


def _itself(x: T, memo: dict[int, Any] | None = None, _nil: Any = None) -> T:
    return x
