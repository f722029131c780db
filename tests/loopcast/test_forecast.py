"""The forecast contract reads what the built-in algorithm reads."""

import math

import pytest
from pydantic import ValidationError

from loopcast.forecast import Request, configuration

SERIES = {"start": "2026-11-21 10:00:00", "target": [1.0, None, "NaN", 4]}


def test_missing_values_are_null_or_nan() -> None:
    target = Request.model_validate({"instances": [SERIES]}).instances[0].target
    assert [math.isnan(value) for value in target] == [False, True, True, False]


def test_what_is_not_asked_for_has_the_algorithms_defaults() -> None:
    asked = Request.model_validate({"instances": [SERIES]}).configuration
    assert asked.num_samples == 100
    assert asked.quantiles[0] == "0.1"


def test_quantiles_are_decimals_as_text() -> None:
    assert configuration([0.05, 0.5]).quantiles == ["0.05", "0.5"]


@pytest.mark.parametrize(
    "change", [{"num_samples": 0}, {"quantiles": ["1"]}, {"quantiles": ["x"]}, {"output_types": ["x"]}]
)
def test_a_configuration_that_cant_be_met_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Request.model_validate({"instances": [SERIES], "configuration": change})
