"""Answers overlap, whatever the rate; and a source that asks for time gets it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.pace import LONGEST_RETRY_AFTER, Pace, pace_of
from loopcast.clock import Clock
from tests.ingestion.test_source import FEED


def a_pace() -> Pace:
    return Pace(shortest=1.0, longest=15.0, page=100)


def settled(rate: float, pace: Pace | None = None, at_most: float = float("inf")) -> tuple[float, float]:
    """The interval after a while of `rate` arrivals a second, and the fresh items it then brings. The source waits
    for its reader once `at_most` have arrived."""
    pace = pace or a_pace()
    interval = pace.shortest
    fresh = 0.0
    for _ in range(50):
        fresh = min(rate * interval, at_most)
        interval = pace.after_answer(interval, int(fresh), gap=fresh >= pace.page)
    return interval, fresh


@given(rate=st.floats(0, 60))
def test_answers_overlap_by_most_of_a_page_at_any_rate_that_the_bounds_allow(rate: float) -> None:
    interval, fresh = settled(rate)
    assert 1 <= interval <= 15
    assert fresh <= 60
    assert 15 <= fresh <= 25 or interval in {1, 15}


def test_the_seven_seconds_of_a_page_are_polled_in_time() -> None:
    interval, fresh = settled(100 / 7)
    assert interval < 7
    assert fresh < 50


def test_a_burst_is_met_at_once() -> None:
    assert a_pace().after_answer(10, 100, gap=True) == 1
    assert a_pace().after_answer(10, 80, gap=False) == 2.5


def test_a_burst_is_remembered_for_a_while() -> None:
    pace = a_pace()
    after = [pace.after_answer(4, fresh, gap=False) for fresh in (80, *[8] * 30)]
    assert after[:5] == sorted(after[:5])
    assert after[1] < 2 * after[0]
    assert after[-1] > 5 * after[0]


def test_a_source_that_waits_at_half_a_page_is_asked_faster_until_it_need_not_wait() -> None:
    pace = Pace(shortest=0.001, longest=0.1, page=100)
    interval, fresh = settled(1000, pace, at_most=50)
    assert fresh < 50
    assert interval == pytest.approx(0.02, rel=0.2)


def test_silence_is_polled_ever_less_often_up_to_the_bound() -> None:
    assert settled(0)[0] == 15


def test_bounds_are_stated_in_event_time() -> None:
    assert pace_of(FEED.source, Clock(speed=100)) == Pace(0.01, 0.15, 100)


@given(faults=st.integers(1, 10_000))
def test_faults_are_tried_again_within_the_bounds(faults: int) -> None:
    assert 0.5 <= a_pace().after_fault(faults, None) <= 15


def test_a_source_that_asks_for_time_gets_it_within_reason() -> None:
    assert a_pace().after_fault(1, 42) == 42
    assert a_pace().after_fault(1, 0) == 1
    assert a_pace().after_fault(1, 1e9) == LONGEST_RETRY_AFTER
