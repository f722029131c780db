"""The alarm stands when M of the newest N known datapoints are above the limit, and never else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulate.alarm import AlarmRule

RATIOS = st.lists(st.one_of(st.floats(0, 3), st.just(math.nan)), max_size=12)
RULES = st.integers(1, 5).flatmap(lambda n: st.builds(AlarmRule, st.integers(1, n), st.just(n)))


def test_two_of_three_datapoints_above_the_limit_are_an_alarm() -> None:
    rule = AlarmRule(2, 3)
    assert not rule.stands([1.2])
    assert not rule.stands([1.2, 0.9, 0.9])
    assert rule.stands([0.5, 1.2, 0.9, 1.01])
    assert not rule.stands([1.2, 1.2, 0.9, 1.0])


def test_a_missing_datapoint_is_ignored_and_an_older_one_counts_instead() -> None:
    assert AlarmRule(2, 2).stands([1.2, math.nan, 1.2])
    assert AlarmRule(2, 2).newest([1.2, math.nan, 1.2]) == [0, 2]


@given(RATIOS, RULES)
def test_an_alarm_needs_that_many_of_the_newest_known_datapoints(ratios: list[float], rule: AlarmRule) -> None:
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    assert rule.stands(ratios) == (sum(ratio > 1 for ratio in known[-rule.periods :]) >= rule.datapoints)


@given(RATIOS, RULES, st.integers(0, 12))
def test_missing_datapoints_never_change_the_alarm(ratios: list[float], rule: AlarmRule, at: int) -> None:
    assert rule.stands([*ratios[:at], math.nan, *ratios[at:]]) == rule.stands(ratios)


@given(RATIOS, RULES)
def test_the_first_breach_is_the_first_datapoint_with_which_the_alarm_stands(
    ratios: list[float], rule: AlarmRule
) -> None:
    first = rule.first_breach(ratios)
    standing = [end for end in range(len(ratios)) if rule.stands(ratios[: end + 1])]
    assert first == (standing[0] if standing else None)


@pytest.mark.parametrize(("datapoints", "periods"), [(0, 3), (4, 3)])
def test_a_rule_that_could_never_or_always_hold_is_refused(datapoints: int, periods: int) -> None:
    with pytest.raises(ValueError, match="1 to N of N"):
        AlarmRule(datapoints, periods)
