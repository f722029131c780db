from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local.source.clock import EventClock
from tests.local.source.conftest import FakeTime

steps = st.lists(
    st.tuples(st.floats(0, 100), st.integers(0, 10**9), st.none() | st.floats(0.1, 1000)), min_size=1, max_size=30
)


@given(steps)
def test_event_time_never_goes_back_and_never_passes_a_limit_that_lies_ahead_of_it(steps):
    wall = FakeTime()
    clock, before = EventClock(0, 10, wall), 0
    for seconds, limit, speed in steps:
        wall.pass_by(seconds)
        moment = clock.advance(lambda target, limit=limit: limit)
        assert before <= moment <= max(limit, before)
        before = moment
        if speed:
            clock.change_speed(speed, lambda target: target)
            before = clock.advance(lambda target: target)


def test_event_time_runs_at_its_speed():
    wall = FakeTime()
    clock = EventClock(1_000_000, 200, wall)
    wall.pass_by(2.5)
    assert clock.advance(lambda target: target) == 501_000_000


def test_a_change_of_speed_does_not_make_event_time_jump():
    wall = FakeTime()
    clock = EventClock(0, 200, wall)
    wall.pass_by(1)
    clock.change_speed(1, lambda target: target)
    assert clock.advance(lambda target: target) == 200_000_000
    wall.pass_by(1)
    assert clock.advance(lambda target: target) == 201_000_000


def test_time_spent_waiting_at_a_limit_is_not_caught_up_with():
    wall = FakeTime()
    clock = EventClock(0, 10, wall)
    wall.pass_by(100)
    assert clock.advance(lambda target: 5) == 5
    assert clock.advance(lambda target: target) == 5
