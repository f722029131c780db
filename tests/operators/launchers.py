"""What every place must keep that runs `python -m pipelines.run` by itself: a test class is made of `Contract`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from operators.launchers.base import Launcher, Recurring
from operators.runs import Run, RunState

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def run(pipeline: str, name: str = "fees-retrain-1", **arguments: str) -> Run:
    return Run(1, pipeline, "AlarmStanding", NOON, id=name, arguments=arguments, reason="It stands.", policy="fees")


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Place(Protocol):
    """A launcher whose pipeline `broken` says why it fails, whose `endless` ends when it is told to, and whose others
    succeed at once."""

    launcher: Launcher

    def starts(self) -> int:
        """How many programs were started."""
        ...

    def another(self) -> Launcher:
        """The launcher of an operator that was started anew."""
        ...


def over(place: Place, launched: Run) -> RunState:
    until(lambda: place.launcher.progress(launched).state.over)
    return place.launcher.progress(launched).state


class Contract:
    """The tests; each has a `place` of its own."""

    def test_a_run_that_is_launched_succeeds(self, place: Place) -> None:
        launched = run("build", lookback_days="7")
        launched = replace(launched, handle=place.launcher.launch(launched))
        assert over(place, launched) is RunState.SUCCEEDED

    def test_a_launch_that_is_repeated_starts_nothing(self, place: Place) -> None:
        launched = run("endless")
        first = place.launcher.launch(launched)
        until(place.starts)
        assert [place.launcher.launch(launched), place.another().launch(launched)] == [first, first]
        assert place.starts() == 1

    def test_a_failed_run_says_why_and_is_not_run_again(self, place: Place) -> None:
        launched = run("broken")
        place.launcher.launch(launched)
        assert over(place, launched) is RunState.FAILED
        assert place.launcher.progress(launched).message == "The step train failed: it is broken."
        assert place.starts() == 1

    def test_a_run_nobody_knows_has_failed(self, place: Place) -> None:
        assert place.launcher.progress(run("build", "never-seen")).state is RunState.FAILED
        place.launcher.cancel(run("build", "never-seen"))

    def test_an_operator_that_is_started_again_finds_its_runs_and_can_end_them(self, place: Place) -> None:
        launched = run("endless")
        launched = replace(launched, handle=place.launcher.launch(launched))
        until(place.starts)
        again = place.another()
        assert again.progress(launched).state is RunState.RUNNING
        again.cancel(launched)
        until(lambda: again.progress(launched).state.failed)

    def test_a_recurring_pipeline_runs_at_once_and_then_by_event_time(self, place: Place) -> None:
        hourly = Recurring("fees-monitor-staging", "monitor", timedelta(hours=1), {"stage": "staging"})
        started = 0
        for minutes, due in [(0, 1), (1, 0), (59, 0), (60, 1), (61, 0), (500, 1), (501, 0)]:
            assert place.launcher.ensure_recurring(hourly, NOON + timedelta(minutes=minutes)) == due
            started += due
            until(lambda started=started: place.starts() == started)
            self.settle(place)
        assert place.launcher.remove_recurring(hourly.name)
        assert not place.launcher.remove_recurring(hourly.name)

    def test_a_recurring_pipeline_never_runs_twice_at_once(self, place: Place) -> None:
        hourly = Recurring("fees-monitor-staging", "endless", timedelta(hours=1))
        assert place.launcher.ensure_recurring(hourly, NOON)
        assert not place.launcher.ensure_recurring(hourly, NOON + timedelta(hours=5))
        assert not place.another().ensure_recurring(hourly, NOON + timedelta(hours=5))

    def settle(self, place: Any) -> None:
        """Waits until nothing runs."""
        raise NotImplementedError
