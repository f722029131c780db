"""Stacks to measure: started in part, and stopped whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local.parts import ROOT, Settings, services
from local.processes import StackError
from local.stack import Stack
from loopcast import aws
from loopcast.feed import load_feed

FEED = ROOT / "feeds" / "bitcoin-fees.yaml"


@contextmanager
def stack(folder: Path, first_port: int, speed: float) -> Iterator[Stack]:
    """A stack whose services are up and whose resources are applied; `start` starts the other parts."""
    settings = Settings(feed_path=FEED, feed=load_feed(FEED), folder=folder, speed=speed, first_port=first_port)
    os.environ.update(settings.environment)
    aws.client.cache_clear()
    found = Stack(settings)
    try:
        found.remember()
        _start(found, [program.name for program in services(settings)])
        found.apply("apply")
        yield found
    finally:
        found.down()


def start(found: Stack, *parts: str) -> None:
    """Starts the named parts and waits until they are healthy."""
    _start(found, list(parts))


def _start(found: Stack, parts: list[str]) -> None:
    programs = [program for program in found.programs if program.name in parts]
    for program in programs:
        found.processes.start(program)
    for program in programs:
        found.processes.wait_until_healthy(program)


def rate(count: Callable[[], float], until: float, seconds: float) -> float:
    """How fast `count` grows, a second, from its first growth until it reaches `until`.

    Raises `StackError` when it doesn't get there within `seconds`.
    """
    deadline = time.monotonic() + seconds
    base = count()
    first: tuple[float, float] | None = None
    while True:
        now, value = time.monotonic(), count()
        if first is None and value > base:
            first = (now, value)
        if value >= until:
            break
        if now > deadline:
            raise StackError(f"after {seconds:.0f} s {value:,.0f} of {until:,.0f} were done")
        time.sleep(0.02)
    if first is None or now == first[0]:
        raise StackError("all was done before the first look: measure more")
    return (value - first[1]) / (now - first[0])
