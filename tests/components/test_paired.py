"""A challenger replaces the champion for being better on the same windows, not by luck."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.paired import apart, compare, p_value

loss = st.floats(0.01, 10)
pairs = st.lists(st.tuples(loss, loss), min_size=1, max_size=10)


def separate(windows: int) -> list[int]:
    return [index * 30 for index in range(windows)]


def compared(found: list[tuple[float | None, float | None]], origins: list[int] | None = None) -> dict:
    ours, theirs = zip(*found, strict=True)
    return compare(ours, theirs, origins or separate(len(found)), 30).to_json()


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=20), st.floats(0.001, 2))
def test_a_challenger_that_is_better_in_every_window_has_the_least_p_value(losses: list[float], gain: float) -> None:
    found = compared([(value, value + gain) for value in losses])
    assert found["difference"] == pytest.approx(gain)
    assert found["windows"] == len(losses)
    assert found["p_value"] <= max(2.0 ** -len(losses), 1e-3)


@given(st.lists(loss, min_size=1, max_size=20))
def test_an_identical_challenger_is_all_luck(losses: list[float]) -> None:
    assert compared([(value, value) for value in losses])["p_value"] == 1


@given(pairs)
def test_a_challenger_that_is_worse_on_average_is_more_likely_worse_than_better(found) -> None:
    outcome = compared(found)
    assert (outcome["p_value"] <= 0.5) == (outcome["difference"] > 1e-8 * sum(abs(b - a) for a, b in found))


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=7), st.floats(0.01, 0.99))
def test_under_the_null_at_most_the_stated_share_comes_out_significant(sizes: list[float], level: float) -> None:
    """Were both equally good, every way that the signs can fall would be as likely."""
    outcomes = [p_value(np.array(signs) * sizes) for signs in product([-1.0, 1.0], repeat=len(sizes))]
    assert np.mean(np.array(outcomes) <= level) <= level + 1e-12


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5])
def test_the_same_holds_for_many_windows_that_are_not_counted_out(level: float) -> None:
    generator = np.random.default_rng(3)
    outcomes = [p_value(generator.normal(0, 1, 40)) for _ in range(200)]
    assert np.mean(np.array(outcomes) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 200)


def test_a_p_value_is_exact_where_windows_are_few() -> None:
    assert p_value(np.array([1.0, 1.0, 1.0])) == 1 / 8
    assert p_value(np.array([3.0, 1.0, -1.0])) == 3 / 8  # reached by +++, ++- and +-+
    assert p_value(np.array([])) == 1


@given(pairs, st.lists(st.sampled_from([(None, 1.0), (1.0, None), (float("nan"), 1.0)]), max_size=5))
def test_windows_without_a_loss_are_left_out(found, unknown) -> None:
    assert compared([*unknown, *found]) == compared(found)


def test_where_no_window_can_be_compared_nothing_is_shown() -> None:
    assert compared([(None, 1.0)]) == {"difference": None, "p_value": 1.0, "windows": 0}


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 60))
def test_windows_that_are_compared_never_overlap_and_the_newest_is_among_them(windows, stride, horizon) -> None:
    origins = [index * stride for index in range(windows)]
    kept = [origins[index] for index in apart(range(windows), origins, horizon)]
    assert kept[-1] == origins[-1]
    assert all(later - earlier >= horizon for earlier, later in pairwise(kept))
    assert kept[0] - origins[0] < horizon


def test_overlapping_windows_count_once() -> None:
    """Eight windows ten minutes apart that look thirty ahead hold no more than three independent ones."""
    found = compared([(1.0, 2.0)] * 8, [index * 10 for index in range(8)])
    assert (found["windows"], found["p_value"]) == (3, 1 / 8)
