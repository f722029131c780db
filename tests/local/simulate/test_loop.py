"""A policy over the windows of a recording: what the operator launches, and what is served from when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from components.baselines import Forecast
from components.history import History
from local.simulate.alarm import AlarmRule
from local.simulate.build import Build, Contender
from local.simulate.loop import Loop, Record
from local.simulate.models import Recipe
from local.simulate.simulation import CLOSED, DAILY, NEVER, policies
from operators.retraining_spec import RetrainingSpec, Triggers

HORIZON, EVERY = 30, 36
STEP = timedelta(minutes=5)
GOOD, BAD = 0.1, 0.5
"""Relative errors of models; the threshold of all is 0.2."""


def _model(name: str, threshold: float = 0.2) -> Contender:
    return Contender(Recipe(name, "", (), 0, ()), 0.1, threshold, "empirical_24h", 0.1)


class World:
    """A constant series on which a model errs by its name's share from the step `drift` on, and hardly before.

    A build lets the next of `challengers` pass, None for a build that refuses; `renewed` is then the champion as it was
    judged.
    """

    def __init__(self, days: int, drift: int, challengers: list[str | None], renewed: Contender | None = None) -> None:
        self.history = History(datetime(2026, 11, 1, tzinfo=UTC), np.full(days * 288, 100.0), STEP)
        self.origins = list(range(288, len(self.history.target) - HORIZON + 1, EVERY))
        self._drift, self._challengers, self._renewed = drift, iter(challengers), renewed
        self.builds: list[int] = []

    def run(self, name: str, cooldown: timedelta = timedelta(hours=6)) -> Record:
        closed_loop = RetrainingSpec(feed="a-feed", triggers=Triggers(alarms=("the-alarm",)), cooldown=cooldown)
        spec = policies(closed_loop)[name]
        loop = Loop(name, spec, AlarmRule(2, 3), self.history, HORIZON, self._build, self._ask)
        return loop.run(_model("old"), self.origins, lambda _: None)

    def _build(self, step: int, champion: Contender) -> Build:
        self.builds.append(step)
        name = next(self._challengers, None)
        winner = _model(name) if name else None
        verdict: dict[str, Any] = {"register": []}
        return Build({}, verdict, winner, winner, self._renewed)

    def _ask(self, contender: Contender, origin: int) -> Forecast:
        error = BAD if contender.recipe.algorithm == "old" and origin >= self._drift else GOOD
        return {0.5: np.full(HORIZON, 100.0 * (1 + error))}


def test_the_alarm_launches_a_retraining_and_its_model_serves_from_the_next_window() -> None:
    world = World(days=4, drift=600, challengers=["new"])
    record = world.run(CLOSED)
    breaching = [point.origin for point in record.points if point.ratio > 1]
    assert len(record.retrainings) == 1
    assert record.retrainings[0].launched == breaching[1] + HORIZON, "two datapoints make the alarm stand"
    assert record.services[1].since == breaching[1] + EVERY
    assert {point.model for point in record.points if point.origin >= record.services[1].since} == {1}


def test_a_refused_retraining_is_tried_again_after_the_cool_down_while_the_alarm_stands() -> None:
    world = World(days=4, drift=600, challengers=[None, None, "new"])
    record = world.run(CLOSED, cooldown=timedelta(hours=12))
    assert [run.promoted is not None for run in record.retrainings] == [False, False, True]
    assert {after - before for before, after in pairwise(world.builds)} == {144}


def test_where_the_champion_stays_its_threshold_follows_the_newest_windows_and_the_alarm_falls() -> None:
    world = World(days=4, drift=600, challengers=[None], renewed=_model("old", threshold=0.6))
    record = world.run(CLOSED)
    assert len(record.retrainings) == 1
    assert record.points[-1].threshold == 0.6
    assert not record.points[-1].alarm


def test_never_retrain_builds_nothing_whatever_happens() -> None:
    world = World(days=4, drift=300, challengers=["new"])
    record = world.run(NEVER)
    assert world.builds == []
    assert record.points[-1].alarm
    assert {point.model for point in record.points} == {0}


def test_retrain_daily_builds_every_day_without_an_alarm() -> None:
    world = World(days=6, drift=10**6, challengers=[])
    world.run(DAILY)
    assert {after - before for before, after in pairwise(world.builds)} == {288}
    assert len(world.builds) == 4


def test_a_window_of_which_nothing_came_is_no_datapoint() -> None:
    world = World(days=4, drift=600, challengers=["new"])
    hole = world.origins[20]
    world.history.target[hole : hole + HORIZON] = np.nan
    record = world.run(CLOSED)
    assert np.isnan(record.points[20].loss)
    assert len(record.retrainings) == 1
