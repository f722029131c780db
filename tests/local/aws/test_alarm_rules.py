"""The rules of an alarm's state, by the examples that AWS documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.alarm_rules import ALARM, INSUFFICIENT, OK, Settings, mistake, reason_of, state_of

KEPT = "kept"
"""The state before: in no example it is one that an evaluation gives."""


def settings(to_alarm: int, missing: str = "missing", evaluated: int = 3, period: int = 60) -> Settings:
    return Settings(period, evaluated, to_alarm, 1.0, "GreaterThanThreshold", missing)


def points(text: str) -> list[float | None]:
    """`0 - X`: a good data point, a missing one, and the newest, a breach; the newest first."""
    return [{"0": 0.5, "X": 1.5, "-": None}[letter] for letter in reversed(text.split())]


TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


@pytest.mark.parametrize(
    ("text", "to_alarm", "states"),
    [
        ("0 - X - X", 3, (OK, OK, OK, OK)),
        ("- - - - 0", 3, (OK, OK, OK, OK)),
        ("- - - - -", 3, (INSUFFICIENT, KEPT, ALARM, OK)),
        ("0 X X - X", 3, (ALARM, ALARM, ALARM, ALARM)),
        ("- - X - -", 3, (ALARM, KEPT, ALARM, OK)),
        ("0 - X - X", 2, (ALARM, ALARM, ALARM, ALARM)),
        ("0 0 X 0 X", 2, (ALARM, ALARM, ALARM, ALARM)),
        ("0 - X - -", 2, (OK, OK, ALARM, OK)),
        ("- - - - 0", 2, (OK, OK, ALARM, OK)),
        ("- - - X -", 2, (ALARM, KEPT, ALARM, OK)),
    ],
)
def test_missing_data_counts_as_aws_documents_it(text: str, to_alarm: int, states: tuple[str, ...]) -> None:
    found = tuple(state_of(settings(to_alarm, missing), points(text), KEPT) for missing in TREATMENTS)

    assert found == states


def test_one_breach_is_too_early_for_an_alarm_that_needs_two() -> None:
    assert state_of(settings(2), points("- - - - X"), OK) == OK
    assert state_of(settings(2), points("- - - - X"), INSUFFICIENT) == INSUFFICIENT


@given(
    found=st.lists(st.sampled_from([0.5, 1.5, None]), min_size=5, max_size=5),
    to_alarm=st.integers(1, 3),
    missing=st.sampled_from(TREATMENTS),
    before=st.sampled_from([OK, ALARM, INSUFFICIENT]),
)
def test_whatever_is_missing_what_is_there_decides_when_it_is_enough(
    found: list[float | None], to_alarm: int, missing: str, before: str
) -> None:
    state = state_of(settings(to_alarm, missing), found, before)

    real = [point for point in found if point is not None]
    breaches = sum(point > 1 for point in real[:3])
    if len(real) >= 3:
        assert state == (ALARM if breaches >= to_alarm else OK)
    if missing == "ignore" and not real:
        assert state == before
    if missing == "notBreaching" or (state == ALARM != before and missing == "ignore"):
        assert (state == ALARM) == (breaches >= to_alarm)
    assert reason_of(settings(to_alarm, missing), found, before, state)


def test_the_reason_says_what_was_measured() -> None:
    reason = reason_of(settings(2), points("0 0 0 X X"), OK, ALARM)

    assert reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints [1.5, 1.5, 0.5] were greater than the threshold (1) "
        "(minimum 2 datapoints for OK -> ALARM transition)."
    )


@pytest.mark.parametrize(("period", "step"), [(10, 10), (30, 10), (60, 60), (3600, 60), (36_000, 3600)])
def test_an_alarm_is_evaluated_as_often_as_on_aws(period: int, step: int) -> None:
    assert settings(2, period=period).step == step


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (settings(2, period=45), "Period 45 is invalid: it must be 10, 20, 30 or a multiple of 60."),
        (settings(2, period=90), "Period 90 is invalid: it must be 10, 20, 30 or a multiple of 60."),
        (settings(2, period=0), "Period 0 is invalid: it must be 10, 20, 30 or a multiple of 60."),
        (
            settings(2, evaluated=1500),
            "Period times EvaluationPeriods is 90000 seconds, which is more than an alarm can",
        ),
        (settings(4), "DatapointsToAlarm must be at most EvaluationPeriods."),
    ],
)
def test_what_cloudwatch_refuses_is_refused(wrong: Settings, said: str) -> None:
    assert str(mistake(wrong)).startswith(said)
    assert mistake(settings(2)) is None
