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
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ministack.core.persistence import _json_default, _state_format_version

T = TypeVar("T")

log = logging.getLogger(__name__)

States = Mapping[str, Callable[[], Any]]


class Snapshots:
    """The snapshots in `folder`: each a folder of its own with a JSON file a service, named for its time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def newest(self) -> Path:
        """The newest complete snapshot; a folder that isn't there when there is none."""
        return max(self._complete(), default=self._folder / "none")

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
        child = os.fork()
        if child == 0:
            self._write_and_exit(states)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        if status[1] != 0:
            log.error("a snapshot failed", extra={"status": status[1]})

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
