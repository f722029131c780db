"""A prediction is checked as a user would see it."""

import pytest

from components.check_endpoint.check_endpoint import faults
from loopcast.forecast import Prediction

SOUND = {"0.1": [1.0, 1.0], "0.5": [2.0, 2.0], "0.9": [3.0, 2.0]}


def test_finite_rising_quantiles_over_the_horizon_are_sound() -> None:
    assert faults(Prediction(quantiles=SOUND), 2, [0.1, 0.5, 0.9]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"0.9": [1.5, 3.0]}, "quantiles cross"),
        ({"0.5": [2.0]}, "not 2 minutes at the quantile 0.5"),
        ({"0.5": [2.0, float("nan")]}, "not finite"),
    ],
)
def test_an_unsound_prediction_is_told_apart(change, said: str) -> None:
    assert said in faults(Prediction(quantiles={**SOUND, **change}), 2, [0.1, 0.5, 0.9])[0]


def test_a_missing_quantile_is_a_fault() -> None:
    assert "no quantile 0.25" in faults(Prediction(quantiles=SOUND), 2, [0.1, 0.25, 0.5])[0]
    assert faults(Prediction(mean=[1.0, 2.0]), 2, [0.5])
