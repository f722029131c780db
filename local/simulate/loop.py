"""One policy over the recording: what is served when, when the alarm stands, and what the operator does about it.

Event time goes from window to window. When a window has closed, its loss becomes a datapoint of the alarm and the
operator decides, by the code that it runs in a cluster; what it launches is built at once and serves from when the
run would have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from components.baselines import Forecast
from components.history import History
from components.windows import pooled_loss
from local.simulate.alarm import AlarmRule
from local.simulate.build import Build, Contender
from operators.retraining import ALARM, OK, Observed, RetrainingStatus, decide
from operators.retraining_spec import RetrainingSpec
from operators.runs import Launch, Run, RunState

RUN = timedelta(minutes=30)
"""How long a build and its release take, in event time."""


@dataclass(frozen=True)
class Point:
    """A window that was scored: `model` is the number of the one that served it, `alarm` whether the alarm stood once
    the window had closed. NaN where nothing of the window came."""

    origin: int
    model: int
    loss: float
    threshold: float
    alarm: bool

    @property
    def ratio(self) -> float:
        """What the alarm watches."""
        return self.loss / self.threshold


@dataclass(frozen=True)
class Service:
    """A model in service: `number` counts a policy's models from 0, `since` is the first window that it serves."""

    number: int
    since: int
    contender: Contender


@dataclass
class Retraining:
    """A run that the operator launched, and what came of it."""

    launched: int
    trigger: str
    before: Service
    build: Build
    promoted: Service | None = None


@dataclass
class Record:
    """What a policy came to."""

    name: str
    points: list[Point] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    retrainings: list[Retraining] = field(default_factory=list)


Builder = Callable[[int, Contender], Build]
Asker = Callable[[Contender, int], Forecast]


class Loop:
    """A policy at work. `build` makes a build of what came before a step, `ask` a model for the forecast of a
    window."""

    def __init__(
        self,
        name: str,
        spec: RetrainingSpec,
        rule: AlarmRule,
        history: History,
        horizon: int,
        build: Builder,
        ask: Asker,
    ) -> None:
        self.record = Record(name)
        self._spec, self._rule, self._history, self._horizon = spec, rule, history, horizon
        self._build, self._ask = build, ask
        self._status = RetrainingStatus()
        self._runs: list[Run] = []
        self._threshold = 0.0

    def run(self, first: Contender, origins: Sequence[int], progress: Callable[[Record], None]) -> Record:
        """Serves `first` from the first of `origins` on, and returns what came of it by the last."""
        self._serve(first, origins[0])
        for origin in origins:
            self._finish_runs(origin)
            self._score(origin)
            self._decide(origin + self._horizon)
            progress(self.record)
        return self.record

    @property
    def _served(self) -> Service:
        return self.record.services[-1]

    def _serve(self, contender: Contender, since: int) -> Service:
        self._threshold = contender.threshold
        self.record.services.append(Service(len(self.record.services), since, contender))
        return self._served

    def _finish_runs(self, step: int) -> None:
        """Takes note of the run that has ended by `step`, and serves the model that it has put into service; where the
        champion stays, its threshold follows from the newest windows."""
        if not self._runs or self._runs[-1].state.over:
            return
        finished = self._runs[-1].launched_at + RUN
        if finished <= self._history.moment(step):
            self._runs[-1] = replace(self._runs[-1], state=RunState.SUCCEEDED, finished_at=finished)
            retraining = self.record.retrainings[-1]
            build = retraining.build
            if build.winner is not None:
                retraining.promoted = self._serve(build.winner, step)
            elif build.champion is not None:
                self._threshold = build.champion.threshold

    def _score(self, origin: int) -> None:
        served = self._served
        actual = self._history.target[origin : origin + self._horizon]
        loss = pooled_loss([actual], [self._ask(served.contender, origin)])
        point = Point(origin, served.number, loss, self._threshold, alarm=False)
        ratios = [before.ratio for before in self.record.points] + [point.ratio]
        self.record.points.append(replace(point, alarm=self._rule.stands(ratios)))

    def _decide(self, step: int) -> None:
        state = ALARM if self.record.points[-1].alarm else OK
        now = self._history.moment(step)
        observed = Observed(
            now=now, runs=self._runs, alarms=dict.fromkeys(self._spec.triggers.alarms, state), data_end=now
        )
        decision, self._status = decide(self._spec, self._status, observed)
        if decision.launch is not None:
            self._launch(step, decision.launch)

    def _launch(self, step: int, launch: Launch) -> None:
        sequence, now = len(self._runs) + 1, self._history.moment(step)
        self._runs.append(Run(sequence, launch.pipeline, launch.trigger, now, RunState.RUNNING))
        build = self._build(step, self._served.contender)
        self.record.retrainings.append(Retraining(step, launch.trigger, self._served, build))
