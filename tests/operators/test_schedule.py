"""When a recurring pipeline runs; pure."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.launchers.schedule import LONGEST, Latest, Step, next_step, run_id, short_name

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, Step.WAIT), (59, Step.WAIT), (60, Step.START), (500, Step.START), (-1, Step.START)],
)
def test_a_run_is_due_an_interval_after_the_last_and_when_the_clock_has_gone_back(minutes: int, expected: Step) -> None:
    assert next_step(Latest(NOON, 0.0, over=True), HOUR, NOON + timedelta(minutes=minutes), 0.0) is expected


def test_the_first_run_is_due_at_once() -> None:
    assert next_step(None, HOUR, NOON, 0.0) is Step.START


@pytest.mark.parametrize(("wall", "expected"), [(LONGEST, Step.WAIT), (LONGEST + 1, Step.END)])
def test_a_run_that_goes_on_is_waited_for_and_ended_when_it_takes_too_long(wall: float, expected: Step) -> None:
    assert next_step(Latest(NOON, 0.0, over=False), HOUR, NOON + 9 * HOUR, wall) is expected


def test_a_run_id_has_at_most_forty_characters_and_tells_the_event_time() -> None:
    assert run_id("fees-monitor-staging", NOON) == "fees-monitor-staging-261121120000"
    assert len(run_id("a-very-long-name-of-a-feed-monitor-staging", NOON)) <= 40
    assert short_name("x" * 40) != short_name("x" * 41)
