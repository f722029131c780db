"""What counts as a useful retraining, as a fresh breach, and as noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.baselines import Forecast
from local.simulate.alarm import AlarmRule
from local.simulate.measures import Episode, episodes, fresh_breach, is_better, share

TWO_OF_THREE = AlarmRule(2, 3)


def _says(value: float) -> Forecast:
    return {0.5: np.full(4, value)}


def test_a_retraining_is_better_only_when_the_new_model_errs_less_on_the_same_windows() -> None:
    actual = [np.full(4, 10.0), np.full(4, 20.0)]
    near, far = [_says(11), _says(19)], [_says(13), _says(19)]
    assert is_better(actual, near, far)
    assert not is_better(actual, far, near)
    assert not is_better(actual, near, near), "a model that is no better was not worth its training"


def test_a_retraining_is_judged_by_all_windows_together_and_large_values_weigh_more() -> None:
    actual = [np.full(4, 1.0), np.full(4, 100.0)]
    wins_the_small, wins_the_large = [_says(1), _says(90)], [_says(2), _says(95)]
    assert is_better(actual, wins_the_large, wins_the_small)


def _loss_of(losses: Sequence[float]) -> Callable[[Sequence[int]], float]:
    return lambda windows: float(np.mean([losses[window] for window in windows]))


@pytest.mark.parametrize(
    ("baseline", "noise"),
    [
        ([0.2, 0.2, 0.2, 0.9], True),
        ([0.2, 0.2, 0.3, 0.2], False),
        ([0.9, 0.2, 0.1, 0.9], False),
        ([0.1, 0.1, 0.1, 0.9], True),
    ],
)
def test_a_breach_is_noise_when_the_best_baseline_did_not_rise_on_the_windows_of_the_alarm(
    baseline: list[float], noise: bool
) -> None:
    breach = fresh_breach([1.1, 0.9, 1.2, 0.5], TWO_OF_THREE, 0.2 + 1e-9, _loss_of(baseline))
    assert breach is not None
    assert breach.windows == (0, 1, 2), "what came after the alarm did not cause it"
    assert breach.noise is noise


def test_a_fresh_model_that_keeps_its_threshold_has_not_breached() -> None:
    assert fresh_breach([1.1, 0.9, 0.9, 1.2], TWO_OF_THREE, 0.2, _loss_of([0.9] * 4)) is None


@given(st.lists(st.booleans(), max_size=30))
def test_episodes_cover_the_windows_in_alarm_and_no_others(alarm: list[bool]) -> None:
    found = episodes(alarm)
    covered = [any(one.first <= index <= one.last for one in found) for index in range(len(alarm))]
    assert covered == alarm
    assert all(before.last + 1 < after.first for before, after in pairwise(found))


def test_an_alarm_that_still_stands_at_the_end_is_an_episode() -> None:
    assert episodes([False, True, True]) == [Episode(1, 2)]


def test_a_share_of_nothing_is_unknown() -> None:
    assert share([]) is None
    assert share([True, False, False, True]) == 0.5
