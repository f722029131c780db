"""Event time is scaled to wall time in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopcast.clock import DISORDER, Clock, clock_from_environment


def test_a_duration_shrinks_with_the_speed() -> None:
    assert Clock(60).wall(3600) == 60
    assert Clock().wall(3600) == 3600


def test_a_watermark_never_waits_less_than_the_feed_states_nor_than_the_queues_need() -> None:
    assert Clock().lateness(30) == 30
    assert Clock(200).lateness(30) == 200 * DISORDER


@pytest.mark.parametrize(
    ("speed", "period"),
    [(1, 3600), (120, 30), (200, 20), (400, 10), (10_000, 10), (100, 60), (60, 60), (59, 120), (0.5, 7200)],
)
def test_an_alarms_hour_becomes_the_next_period_that_cloudwatch_takes(speed: float, period: int) -> None:
    assert Clock(speed).alarm_period(3600) == period


@given(speed=st.floats(0.01, 1e6), seconds=st.integers(1, 86_400))
def test_an_alarms_period_is_never_shorter_than_stated_and_always_valid(speed: float, seconds: int) -> None:
    period = Clock(speed).alarm_period(seconds)
    assert period in (10, 20, 30) or period % 60 == 0
    assert period >= Clock(speed).wall(seconds)


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan"])
def test_a_speed_that_is_none_is_refused_in_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPCAST_SPEED", text)
    with pytest.raises(SystemExit, match="LOOPCAST_SPEED must be a number above 0"):
        clock_from_environment()
