"""When a recurring pipeline runs, in places that have no schedule of their own: by event time, one at a time; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256

LONGEST = 3600.0
"""Seconds on the wall after which a recurring pipeline's run is ended: the next ones would never run."""
_LONGEST_NAME = 27


class Step(Enum):
    """What is to be done now: nothing, start the next run, or end the one that goes on for too long."""

    WAIT = "wait"
    START = "start"
    END = "end"


@dataclass(frozen=True)
class Latest:
    """The newest run: the event time at which it `began`, when it was `started` in seconds since 1970 on the wall, and
    whether it is over."""

    began: datetime
    started: float
    over: bool


def next_step(latest: Latest | None, interval: timedelta, now: datetime, wall: float) -> Step:
    """A run is due at once, then each `interval` of event time; those that were missed are not made up for."""
    if latest is None:
        return Step.START
    if not latest.over:
        return Step.END if wall - latest.started > LONGEST else Step.WAIT
    return Step.WAIT if latest.began <= now < latest.began + interval else Step.START


def short_name(name: str) -> str:
    """At most 27 characters, so that a run's id has 40."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:20].rstrip('-')}-{sha256(name.encode()).hexdigest()[:6]}"


def run_id(name: str, now: datetime) -> str:
    """The id of the run that begins at the event time `now`."""
    return f"{short_name(name)}-{now:%y%m%d%H%M%S}"
