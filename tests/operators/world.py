"""A world in which an operator decides: claims, a place where pipelines run, and a clock, all in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from operators.claims import LEASE_SECONDS, run_id
from operators.launchers.base import LauncherUnreachable, LaunchFailed, Progress, Recurring
from operators.release import Package, ReleaseObserved, Served
from operators.release_spec import ReleaseSpec
from operators.retraining import Observed
from operators.retraining_spec import RetrainingSpec
from operators.runs import Run, RunState

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Killed(Exception):
    """The operator was killed in the middle of its work."""


@dataclass
class Time:
    """True time, and a clock that may show less."""

    true: timedelta = timedelta(0)
    behind: timedelta = timedelta(0)

    @property
    def shown(self) -> datetime:
        return START + self.true - self.behind

    def wall(self) -> float:
        return START.timestamp() + self.true.total_seconds()


@dataclass
class SharedTable:
    """What the claims of all replicas lie in: run, owner and the lease's end by name."""

    items: dict[str, tuple[Run, str, float]] = field(default_factory=dict)
    made: list[tuple[str, Run, timedelta]] = field(default_factory=list)
    down: bool = False


@dataclass
class MemoryClaims:
    """Claims of one replica, with the rules of `ClaimTable`. `meanwhile` happens between reading and deciding."""

    table: SharedTable
    owner: str
    time: Time
    meanwhile: Callable[[], object] | None = None

    def read(self, stem: str) -> list[Run]:
        self._reach()
        found = []
        while (item := self.table.items.get(f"{stem}-{len(found) + 1}")) is not None:
            run, owner, leased_until = item
            found.append(replace(run, free=owner == self.owner or leased_until < self.time.wall()))
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        return found[-50:]

    def claim(self, stem: str, run: Run) -> Run | None:
        self._reach()
        name = f"{stem}-{run.sequence}"
        if name in self.table.items:
            return None
        claimed = replace(run, id=run_id(name, self.time.wall()), state=RunState.CLAIMED)
        self.table.items[name] = (claimed, self.owner, self.time.wall() + LEASE_SECONDS)
        self.table.made.append((stem, claimed, self.time.true))
        return claimed

    def take(self, stem: str, run: Run) -> bool:
        self._reach()
        name = f"{stem}-{run.sequence}"
        stored, owner, leased_until = self.table.items[name]
        if stored.state is not RunState.CLAIMED or (owner != self.owner and leased_until >= self.time.wall()):
            return False
        self.table.items[name] = (stored, self.owner, self.time.wall() + LEASE_SECONDS)
        return True

    def record(self, stem: str, run: Run) -> None:
        self._reach()
        name = f"{stem}-{run.sequence}"
        stored, owner, leased_until = self.table.items[name]
        if not stored.state.over:
            self.table.items[name] = (run, owner, leased_until)

    def _reach(self) -> None:
        if self.table.down:
            raise ConnectionError("the claims can't be reached")


@dataclass
class Place:
    """Where pipelines run. `fault` is what the next launches meet: '', refused, unreachable, killed-before or
    killed-after the start."""

    states: dict[str, RunState] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    launched: dict[str, Run] = field(default_factory=dict)
    recurring: dict[str, Recurring] = field(default_factory=dict)
    fault: str = ""
    blind: bool = False
    code: str = "one"

    @property
    def running(self) -> list[str]:
        return [name for name, state in self.states.items() if not state.over]

    def launch(self, run: Run) -> str:
        if self.fault == "refused":
            raise LaunchFailed("It is refused.")
        if self.fault == "unreachable" or self.blind:
            raise LauncherUnreachable("Nobody answers.")
        if self.fault == "killed-before":
            raise Killed
        if run.id not in self.states:
            self.started.append(run.id)
            self.states[run.id] = RunState.RUNNING
            self.launched[run.id] = run
        if self.fault == "killed-after":
            raise Killed
        return run.id

    def progress(self, run: Run) -> Progress:
        self._look()
        return Progress(self.states.get(run.id, RunState.FAILED))

    def cancel(self, run: Run) -> None:
        self._look()
        if self.states.get(run.id) is RunState.RUNNING:
            self.states[run.id] = RunState.CANCELED

    def digest(self, pipeline: str) -> str:
        self._look()
        return self.code

    def ensure_recurring(self, recurring: Recurring, now: datetime) -> bool:
        self._look()
        changed = self.recurring.get(recurring.name) != recurring
        self.recurring[recurring.name] = recurring
        return changed

    def remove_recurring(self, name: str) -> bool:
        self._look()
        return self.recurring.pop(name, None) is not None

    def _look(self) -> None:
        if self.blind:
            raise LauncherUnreachable("Nobody answers.")


@dataclass
class Sight:
    """What an operator sees of the rest."""

    time: Time
    alarms: dict[str, str] = field(default_factory=dict)
    packages: list[Package] = field(default_factory=list)
    stages: dict[str, Served] = field(default_factory=dict)
    loss_ratio: float | None = None

    def now(self) -> datetime:
        return self.time.shown

    def retraining(self, spec: RetrainingSpec, now: datetime, runs: list[Run], digest: str) -> Observed:
        return Observed(now, runs, alarms=dict(self.alarms), data_end=now, digest=digest)

    def release(self, spec: ReleaseSpec, now: datetime, runs: list[Run]) -> ReleaseObserved:
        stages: Mapping[str, Served] = dict(self.stages)
        return ReleaseObserved(now, runs, tuple(self.packages), stages, dict(self.alarms), self.loss_ratio)
