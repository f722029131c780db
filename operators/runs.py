"""Launches of one policy, as their claims tell them: what ran when, and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from operators.durations import format_duration
from operators.models import Moment, Status


class RunState(StrEnum):
    """CLAIMED: somebody has taken the launch on him, and it may not have happened yet."""

    CLAIMED = "Claimed"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    SKIPPED = "Skipped"

    @property
    def over(self) -> bool:
        return self not in (RunState.CLAIMED, RunState.RUNNING)

    @property
    def failed(self) -> bool:
        return self in (RunState.FAILED, RunState.CANCELED, RunState.SKIPPED)


@dataclass(frozen=True)
class Run:
    """Launch number `sequence` (from 1) of a policy. Moments are event time.

    `reason` says why it was launched by `policy`, `message` what keeps it from running, what it came to or how it ended
    badly, `handle` is what it is known by where it runs and `attempts` how often that place could not be reached.
    `request` is the manual request that was the newest handled one when this was launched, `digest` that of the
    compiled pipeline; `tags` are what a policy wants to know again, for example the version that was deployed.
    `free` says that nobody else is about to carry a claimed launch out.
    """

    sequence: int
    pipeline: str
    trigger: str
    launched_at: datetime
    state: RunState = RunState.CLAIMED
    finished_at: datetime | None = None
    request: str = ""
    digest: str = ""
    id: str = ""
    handle: str = ""
    attempts: int = 0
    reason: str = ""
    message: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    policy: str = ""
    free: bool = True

    @property
    def name(self) -> str:
        return self.id or f"launch {self.sequence}"


@dataclass(frozen=True)
class Launch:
    """What is to be launched; `request`, `digest` and `tags` as in `Run`."""

    pipeline: str
    trigger: str
    message: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    request: str = ""
    digest: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What is to be done now and why: `reason` in CamelCase and `message`, a sentence, are for status and events.

    `launch` is a new launch, `resume` one that was claimed and may not have happened, `cancel` runs that take too long.
    """

    reason: str
    message: str
    launch: Launch | None = None
    resume: Run | None = None
    cancel: Sequence[Run] = ()


class LastRun(Status):
    """The newest launch, as a status shows it."""

    id: str
    pipeline: str
    trigger: str
    state: RunState
    launched_at: Moment
    finished_at: Moment | None = None
    message: str = ""


def last_run(runs: Sequence[Run]) -> LastRun | None:
    if not runs:
        return None
    run = runs[-1]
    return LastRun(
        id=run.id,
        pipeline=run.pipeline,
        trigger=run.trigger,
        state=run.state,
        launched_at=run.launched_at,
        finished_at=run.finished_at,
        message=run.message,
    )


class Anchor(Status):
    """The earliest that a clock which had gone back has shown since launch `sequence`, the newest."""

    sequence: int
    since: Moment


def anchored(before: Anchor | None, runs: Sequence[Run], now: datetime) -> Anchor | None:
    """The anchor at `now`; None while the clock has not been seen behind the newest launch."""
    if not runs:
        return None
    newest = runs[-1]
    if before is not None and before.sequence == newest.sequence:
        return Anchor(sequence=newest.sequence, since=min(before.since, now))
    behind = newest.launched_at > now or (newest.finished_at or now) > now
    return Anchor(sequence=newest.sequence, since=now) if behind else None


def on_clock(runs: Sequence[Run], now: datetime, anchor: Anchor | None) -> list[Run]:
    """The runs with no moment ahead of `now`, in the order in which they were launched.

    When the clock has gone back, what waits for a time to pass since a launch waits once more at most, and not until
    the clock is where it was.
    """
    moved: list[Run] = []
    limit = min(now, anchor.since) if anchor else now
    for run in reversed(runs):
        ended = run.finished_at if run.finished_at is None or run.finished_at <= now else limit
        limit = min(limit, run.launched_at)
        moved.append(replace(run, launched_at=limit, finished_at=ended))
    return moved[::-1]


def in_hand(runs: Sequence[Run], now: datetime, limit: timedelta, dry_run: bool) -> Decision | None:
    """What earlier launches need first: one that takes longer than `limit` is cancelled, and one that was claimed and
    may not have happened is launched."""
    if stale := [run for run in runs if run.state is RunState.RUNNING and now - run.launched_at > limit]:
        names = ", ".join(run.name for run in stale)
        return Decision("TimedOut", f"Cancelling {names}, which took more than {format_duration(limit)}.", cancel=stale)
    claimed = next((run for run in runs if run.state is RunState.CLAIMED and run.free), None)
    if claimed is None or dry_run:
        return None
    return Decision("Resumed", f"{claimed.name} was claimed and is launched now.", resume=claimed)


def failures(runs: Sequence[Run]) -> int:
    """How many of the newest launches have failed in a row."""
    count = 0
    for run in reversed([run for run in runs if run.state.over]):
        if not run.state.failed:
            break
        count += 1
    return count


def why(run: Run) -> str:
    """How the run ended badly, to follow a clause: `: it is broken.`, or just the end of the sentence."""
    return f": {run.message.rstrip('.')}." if run.message else "."


def back_off(first: timedelta, longest: timedelta, jitter: float, run: Run, failed: int) -> timedelta:
    """How long to wait after the `failed`th failure in a row: twice as long each time, up to `longest`, and up to the
    share `jitter` longer by what the run's name comes to, so that every replica waits equally long."""
    doublings = 2 ** (failed - 1)
    pause = first * doublings if doublings < longest / first else longest
    digest = hashlib.sha256(f"{run.id or run.sequence}".encode()).digest()
    return pause * (1 + jitter * int.from_bytes(digest[:4]) / 2**32)
