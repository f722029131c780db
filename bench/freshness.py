"""How soon a minute is readable online after the watermark has passed its end, at sixty times real time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.stacks import stack, start
from local import online
from local.control import ReplayedSource
from local.processes import StackError
from local.stack import Stack
from loopcast.aws import client
from loopcast.clock import Clock

_SPEED = 60.0
_MINUTES = 120
_LIMIT = 300.0
_PAUSE = 0.01


def measure(folder: Path, first_port: int) -> list[dict[str, Any]]:
    """Rows (what, value, unit)."""
    with stack(folder, first_port, _SPEED) as found:
        start(found, "source", "flink", "deduplicator", "feature-writer", "poller")
        delays = np.array(_delays(found))
    what = "freshness: watermark past a minute's end to the minute readable online"
    return [
        {"what": f"{what}, p50", "value": float(np.quantile(delays, 0.5)), "unit": "s"},
        {"what": f"{what}, p99", "value": float(np.quantile(delays, 0.99)), "unit": "s"},
    ]


def _delays(found: Stack) -> list[float]:
    """Of `_MINUTES` minutes, in seconds of wall time, from the first that closes after all is running."""
    settings = found.settings
    source = ReplayedSource(settings.url("source"))
    runtime = client("sagemaker-featurestore-runtime")
    lateness = timedelta(seconds=Clock(_SPEED).lateness(settings.feed.window.lateness))
    minute = _settled(found, source) + timedelta(minutes=1)
    delays = []
    for _ in range(_MINUTES):
        _await(lambda minute=minute: source.now() >= minute + timedelta(minutes=1) + lateness)
        closed = time.monotonic()
        _await(lambda minute=minute: _readable(runtime, settings.names.feature_group, settings.feed.name, minute))
        delays.append(time.monotonic() - closed)
        minute += timedelta(minutes=1)
    return delays


def _settled(found: Stack, source: ReplayedSource) -> datetime:
    """The newest minute to close, once the backlog of the start is through."""
    settings = found.settings
    runtime = client("sagemaker-featurestore-runtime")
    lateness = timedelta(seconds=Clock(_SPEED).lateness(settings.feed.window.lateness))

    def caught_up() -> datetime | None:
        newest = online.newest(runtime, settings.names.feature_group, settings.feed.name, source.now())
        return newest if newest and source.now() - newest < lateness + timedelta(minutes=4) else None

    deadline = time.monotonic() + _LIMIT
    while (newest := caught_up()) is None:
        if time.monotonic() > deadline:
            raise StackError(f"the stack did not catch up with the source within {_LIMIT:.0f} s")
        time.sleep(0.1)
    return newest


def _readable(runtime: Any, feature_group: str, series: str, minute: datetime) -> bool:
    return bool(online.minutes(runtime, feature_group, series, minute, minute))


def _await(condition: Any) -> None:
    deadline = time.monotonic() + _LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"nothing came within {_LIMIT:.0f} s")
        time.sleep(_PAUSE)
