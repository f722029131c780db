"""The simulation: three policies over the same windows of a recording, with the same candidates and the same gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from components.baselines import Forecast, baselines
from components.history import Array, History
from components.run import Refused
from components.windows import pooled_loss
from local.simulate.alarm import AlarmRule
from local.simulate.build import Build, Builds, Contender, Plan
from local.simulate.loop import RUN, Loop, Record
from local.simulate.models import Models
from loopcast.feed import Feed
from operators.durations import format_duration
from operators.retraining_spec import RetrainingSpec, Schedule, Triggers

NEVER, DAILY, CLOSED = "never", "daily", "closed_loop"
EVERY = timedelta(hours=3)
_AHEAD = 24
"""Windows that a model is asked for at a time: a server's start costs more than some answers."""


@dataclass(frozen=True)
class Grid:
    """The scored windows: `origins` are the steps at which they begin, rising; the first build sees the steps before
    `first_build`."""

    origins: list[int]
    first_build: int


def grid(history: History, horizon: int, warm_up: timedelta) -> Grid:
    """Windows `EVERY` so often once `warm_up` is over. Raises `Refused` when the recording is too short."""
    every, first = EVERY // history.step, warm_up // history.step
    origins = list(range(first, len(history) - horizon + 1, every))
    if not origins:
        raise Refused(
            f"The recording is too short: of its {format_duration(len(history) * history.step)} nothing is left to "
            f"score after the {format_duration(warm_up)} that train the first model."
        )
    return Grid(origins, first - RUN // history.step)


class Simulation:
    """Policies over `grid`; what is common to them is made once."""

    def __init__(self, feed: Feed, history: History, models: Models, plan: Plan, rule: AlarmRule, grid: Grid) -> None:
        self.feed, self.history, self.rule, self.grid, self.plan = feed, history, rule, grid, plan
        self._models, self._builds = models, Builds(feed, history, models, plan)

    @property
    def horizon(self) -> int:
        return self.feed.forecast.steps

    def run(self, specs: Mapping[str, RetrainingSpec], progress: Callable[[Record], None]) -> dict[str, Record]:
        """What each policy comes to, side by side. They begin with the same model."""
        with ThreadPoolExecutor(len(specs)) as threads:
            try:
                winner = threads.submit(self._first).result()
                running = {
                    name: threads.submit(self._loop(name, spec).run, winner, self.grid.origins, progress)
                    for name, spec in specs.items()
                }
                return {name: future.result() for name, future in running.items()}
            except BaseException:
                self.close()  # or else what still runs would be waited for
                raise

    def _first(self) -> Contender:
        """The model that is served first. Raises `Refused` when there is none."""
        first = self._builds.build(self.grid.first_build, None)
        if first.winner is None:
            raise Refused(f"The first build registers no model: {' '.join(reasons(first))}")
        return first.winner

    def _loop(self, name: str, spec: RetrainingSpec) -> Loop:
        return Loop(name, spec, self.rule, self.history, self.horizon, self._builds.build, self._ask_ahead)

    def ask(self, contender: Contender, origins: Sequence[int]) -> list[Forecast]:
        """The model's forecasts of the windows at `origins`."""
        return self._models.forecasts(contender.recipe, origins)

    def _ask_ahead(self, contender: Contender, origin: int) -> Forecast:
        """The model's forecast of a scored window; it is asked for some of those that follow as well."""
        at = self.grid.origins.index(origin)
        block = self.grid.origins[at : (at // _AHEAD + 1) * _AHEAD]
        return self._models.forecasts(contender.recipe, block)[0]

    def close(self) -> None:
        """Ends every program."""
        self._models.close()

    def actual(self, origins: Sequence[int]) -> list[Array]:
        return [self.history.target[origin : origin + self.horizon] for origin in origins]

    def baselines(self) -> dict[str, list[Forecast]]:
        """What the baselines say at every scored window."""
        return baselines(self.history, self.grid.origins, self.horizon, self.feed.forecast.quantiles)

    def loss(self, origins: Sequence[int], forecasts: Sequence[Forecast]) -> float:
        """The mean weighted quantile loss over the windows together."""
        return pooled_loss(self.actual(origins), forecasts)


def reasons(build: Build) -> list[str]:
    """Why the gate let nothing pass."""
    return [reason for entry in build.verdict["register"] for reason in entry["reasons"]]


def policies(closed_loop: RetrainingSpec) -> dict[str, RetrainingSpec]:
    """The policies to compare: what the closed loop does, to retrain daily, and never."""
    daily = Triggers(schedule=Schedule(every=timedelta(days=1)))
    return {
        CLOSED: closed_loop,
        DAILY: RetrainingSpec(feed=closed_loop.feed, triggers=daily, cooldown=timedelta(hours=1)),
        NEVER: RetrainingSpec(feed=closed_loop.feed, manual_only=True),
    }
