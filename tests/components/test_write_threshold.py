"""A threshold follows its model up and down, and noise alone does not break it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.write_threshold.threshold import RULE, threshold

one_loss = st.floats(0.01, 1)
window_losses = st.lists(one_loss, min_size=1, max_size=50)


@given(window_losses, one_loss, st.floats(0.1, 10))
def test_a_threshold_scales_with_the_losses_up_and_down(losses, loss, factor) -> None:
    assert threshold(loss * factor, [value * factor for value in losses]) == pytest.approx(
        factor * threshold(loss, losses)
    )


@given(window_losses, one_loss, st.integers(0, 49), one_loss, one_loss)
def test_a_worse_backtest_never_lowers_the_threshold(losses, loss, index, window_more, more) -> None:
    worse = list(losses)
    worse[index % len(worse)] += window_more
    before = threshold(loss, losses)
    assert threshold(loss, worse) >= before * (1 - 1e-12)
    assert threshold(loss + more, losses) >= before * (1 - 1e-12)


@given(window_losses, one_loss)
def test_a_threshold_is_above_the_model_s_own_loss_and_above_most_windows(losses, loss) -> None:
    limit = threshold(loss, losses)
    assert limit > RULE.least_factor * loss
    assert limit > np.quantile(losses, RULE.quantile)


@given(one_loss, one_loss, st.integers(1, 50), st.integers(1, 50))
def test_the_fewer_windows_are_known_the_wider_the_threshold(window, loss, count, more) -> None:
    assert threshold(loss, [window] * count) > threshold(loss, [window] * (count + more))


@given(window_losses, one_loss, st.lists(st.sampled_from([None, float("nan"), float("inf")]), max_size=5))
def test_windows_without_a_loss_do_not_count(losses, loss, unknown) -> None:
    assert threshold(loss, [*unknown, *losses]) == threshold(loss, losses)


def test_where_no_window_has_a_loss_that_of_all_together_stands_for_them() -> None:
    assert threshold(0.2, [None]) == threshold(0.2, [0.2])


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_no_threshold_follows_from_a_loss_that_is_none(loss: float) -> None:
    with pytest.raises(ValueError, match="no threshold follows"):
        threshold(loss, [0.2])


def test_one_wild_window_does_not_raise_the_threshold() -> None:
    calm = [0.2, 0.21, 0.19, 0.2, 0.22, 0.18, 0.2, 0.2]
    assert threshold(0.2, [*calm[:-1], 50.0]) == pytest.approx(threshold(0.2, calm), rel=0.1)


def test_noise_of_fresh_windows_does_not_break_it() -> None:
    random = np.random.default_rng(3)
    seen, fresh = random.normal(0.3, 0.04, 8), random.normal(0.3, 0.04, 1000)
    assert (fresh > threshold(0.3, list(seen))).mean() < 0.01
