"""A threshold follows its model up and down, and noise alone does not break it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.write_threshold.write_threshold import threshold

window_losses = st.lists(st.floats(0.01, 1), min_size=8, max_size=50)


@given(window_losses, st.floats(0.01, 1), st.floats(0.1, 10))
def test_a_threshold_scales_with_the_losses_up_and_down(losses, loss, factor) -> None:
    assert threshold(loss * factor, [value * factor for value in losses]) == pytest.approx(
        factor * threshold(loss, losses)
    )


@given(window_losses, st.floats(0.01, 1))
def test_a_threshold_is_above_the_model_s_own_loss_and_above_most_windows(losses, loss) -> None:
    limit = threshold(loss, losses)
    assert limit >= 1.5 * loss
    assert limit >= np.median(losses)


def test_one_wild_window_does_not_raise_the_threshold() -> None:
    calm = [0.2, 0.21, 0.19, 0.2, 0.22, 0.18, 0.2, 0.2]
    assert threshold(0.2, [*calm[:-1], 50.0]) == pytest.approx(threshold(0.2, calm), rel=0.1)


def test_noise_of_fresh_windows_does_not_break_it() -> None:
    random = np.random.default_rng(3)
    seen, fresh = random.normal(0.3, 0.04, 8), random.normal(0.3, 0.04, 1000)
    assert (fresh > threshold(0.3, list(seen))).mean() < 0.01


def test_windows_without_a_loss_do_not_count() -> None:
    assert threshold(0.2, [0.2, None, float("nan"), 0.3]) == threshold(0.2, [0.2, 0.3])  # type: ignore[list-item]
