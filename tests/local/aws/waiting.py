"""Waiting for what comes by itself, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)


def in_snapshot(folder: Path, service: str, word: str) -> bool:
    """Whether a snapshot under `folder` has `word` in its state of `service`."""
    with suppress(FileNotFoundError):  # an older snapshot goes while a newer one comes
        return any(word in file.read_text() for file in folder.rglob(f"snapshots/0*/{service}.json"))
    return False
