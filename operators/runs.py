"""Launches of one policy, as their claims tell them: what ran when, and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    message: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
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
    )


@dataclass(frozen=True)
class Since:
    """How long ago a moment was, on a clock that may have gone back.

    A moment that lies ahead of `now` counts from `behind_since`, when that was first seen: what waits for a time to
    pass waits once more at most, and not until the clock is where it was.
    """

    now: datetime
    behind_since: datetime | None

    def elapsed(self, moment: datetime) -> timedelta:
        start = moment if moment <= self.now else min(self.behind_since or self.now, self.now)
        return self.now - start

    def until(self, moment: datetime, length: timedelta) -> datetime:
        """When `length` will have passed since `moment`."""
        return self.now + max(timedelta(0), length - self.elapsed(moment))


def behind_since(now: datetime, before: datetime | None, runs: Sequence[Run]) -> datetime | None:
    """Since when the clock has been behind moments of known launches; None when it is not."""
    known = [moment for run in runs for moment in (run.launched_at, run.finished_at) if moment is not None]
    if all(moment <= now for moment in known):
        return None
    return min(before, now) if before is not None else now


def in_hand(runs: Sequence[Run], since: Since, limit: timedelta, dry_run: bool) -> Decision | None:
    """What earlier launches need first: one that takes longer than `limit` is cancelled, and one that was claimed and
    may not have happened is launched."""
    if stale := [run for run in runs if run.state is RunState.RUNNING and since.elapsed(run.launched_at) > limit]:
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


def back_off(first: timedelta, longest: timedelta, jitter: float, run: Run, failed: int) -> timedelta:
    """How long to wait after the `failed`th failure in a row: twice as long each time, up to `longest`, and up to the
    share `jitter` longer by what the run's name comes to, so that every replica waits equally long."""
    doubled = first * 2 ** min(failed - 1, 30) if first < longest else longest
    digest = hashlib.sha256(f"{run.id or run.sequence}".encode()).digest()
    return min(doubled, longest) * (1 + jitter * int.from_bytes(digest[:4]) / 2**32)
