"""What the training data looked like is stored so that fresh minutes can be compared with it."""

import json
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.columns import Columns
from components.training_baseline import shares, training_baseline
from tests.components.examples import START

numbers = st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=200)


def columns(**values: list[float]) -> Columns:
    return Columns(START, {name: np.array(column) for name, column in values.items()})


@given(numbers)
def test_shares_are_of_the_training_data_between_its_own_deciles(values: list[float]) -> None:
    metric = training_baseline(columns(fee=values))["metrics"]["fee"]
    assert len(metric["edges"]) == 9
    assert metric["edges"] == sorted(metric["edges"])
    assert len(metric["shares"]) == 10
    assert abs(sum(metric["shares"]) - 1) < 1e-9
    below = np.mean(np.array(values) < metric["edges"][4])
    assert abs(sum(metric["shares"][:5]) - below) < 1e-9


def test_values_without_ties_fill_the_deciles_evenly() -> None:
    metric = training_baseline(columns(fee=list(np.arange(1000.0))))["metrics"]["fee"]
    np.testing.assert_allclose(metric["shares"], 0.1)
    assert metric["mean"] == 499.5


@given(numbers, numbers)
def test_each_value_falls_into_one_bin(values: list[float], cuts: list[float]) -> None:
    edges = np.unique(cuts)
    counted = shares(np.array([*values, np.nan]), edges) * len(values)
    limits = [-np.inf, *edges, np.inf]
    expected = [sum(low <= v < high for v in values) for low, high in pairwise(limits)]
    np.testing.assert_allclose(counted, expected)


def test_minutes_that_never_came_are_counted_and_an_undefined_ratio_is_no_missing_minute() -> None:
    nan = float("nan")
    found = training_baseline(columns(count=[1.0, nan, 1.0, 1.0], ratio=[nan, nan, 2.0, 4.0], never=[nan] * 4))
    assert (found["minutes"], found["missing"]) == (4, 0.25)
    assert found["metrics"]["ratio"]["mean"] == 3.0
    assert set(found["metrics"]) == {"count", "ratio"}
    json.dumps(found, allow_nan=False)
