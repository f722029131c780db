"""Error metrics: exact values, and what must hold for all inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loopcast.metrics import (
    bias,
    coverage,
    mean_weighted_quantile_loss,
    root_mean_squared_error,
    weighted_quantile_loss,
)

NAN = float("nan")
finite = st.floats(-1e6, 1e6)
series = st.integers(1, 30).flatmap(
    lambda n: st.tuples(arrays(float, n, elements=finite), arrays(float, n, elements=finite))
)


def test_the_loss_has_its_documented_value() -> None:
    actual, forecast = np.array([10.0, 20.0]), np.array([8.0, 24.0])
    # 0.9 * 2 for the point that was under-forecast, 0.1 * 4 for the other, twice, over 30
    assert weighted_quantile_loss(actual, forecast, 0.9) == pytest.approx(2 * (0.9 * 2 + 0.1 * 4) / 30)


def test_the_mean_is_over_quantiles() -> None:
    actual, forecast = np.array([10.0, 20.0]), np.array([8.0, 24.0])
    losses = [weighted_quantile_loss(actual, forecast, q) for q in (0.1, 0.9)]
    assert mean_weighted_quantile_loss(actual, {0.1: forecast, 0.9: forecast}) == pytest.approx(sum(losses) / 2)


def test_minutes_that_never_came_are_left_out() -> None:
    actual, forecast = np.array([10.0, NAN, 20.0]), np.array([8.0, 1e9, 24.0])
    known = np.array([10.0, 20.0]), np.array([8.0, 24.0])
    assert weighted_quantile_loss(actual, forecast, 0.5) == weighted_quantile_loss(*known, 0.5)
    assert root_mean_squared_error(actual, forecast) == root_mean_squared_error(*known)
    assert bias(actual, forecast) == bias(*known)


def test_targets_of_zero_give_no_number_instead_of_a_division_by_zero() -> None:
    zeros = np.zeros(3)
    assert math.isnan(weighted_quantile_loss(zeros, zeros, 0.5))
    assert math.isnan(bias(zeros, zeros))
    assert math.isnan(root_mean_squared_error(np.array([NAN]), np.array([1.0])))
    assert math.isnan(coverage(np.array([NAN]), np.array([0.0]), np.array([1.0])))


def test_coverage_counts_the_known_points_within() -> None:
    actual = np.array([1.0, 2.0, 3.0, NAN])
    assert coverage(actual, np.full(4, 2.0), np.full(4, 3.0)) == pytest.approx(2 / 3)


@given(series, st.floats(0.01, 0.99))
def test_a_perfect_forecast_costs_nothing_and_no_forecast_costs_less(
    pair: tuple[np.ndarray, np.ndarray], q: float
) -> None:
    actual, forecast = pair
    if np.abs(actual).sum() > 1e-6:
        assert weighted_quantile_loss(actual, actual, q) == 0
        assert weighted_quantile_loss(actual, forecast, q) >= 0


@given(arrays(float, 60, elements=st.floats(1, 1e6)), st.floats(0.05, 0.95))
def test_no_constant_forecast_beats_the_empirical_quantile(actual: np.ndarray, q: float) -> None:
    def loss(constant: float) -> float:
        return weighted_quantile_loss(actual, np.full(actual.shape, constant), q)

    best = loss(float(np.quantile(actual, q, method="inverted_cdf")))
    assert all(best <= loss(other) + 1e-9 for other in actual)
