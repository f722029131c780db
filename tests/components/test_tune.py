"""Where a tuning run searches, and what it keeps."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.algorithms import CANDIDATES
from components.keep_tuned.keep_tuned import outcome
from components.run import Refused
from components.train.hyperparameters import defaults
from components.train.images import deepar_image, metric_definitions, own_image
from components.tune.ranges import ranges, tuned_names
from components.tune.tune import OBJECTIVE
from components.windows import Split
from forecasters.evaluation import Scores, report
from local.sagemaker.search import distributions
from loopcast.names import Names
from tests.components.examples import feed

SPLIT = Split([0, 30], 30, 30)
ACTUAL = [np.full(30, 10.0), np.full(30, 20.0)]


@pytest.mark.parametrize("algorithm", CANDIDATES)
def test_every_candidate_has_a_space_that_can_be_searched(algorithm: str) -> None:
    assert distributions(ranges(algorithm, feed()))


def test_the_space_of_deepar_holds_its_defaults() -> None:
    space = distributions(ranges("deepar", feed()))
    current = defaults("deepar", feed(), 1)
    for name in tuned_names(ranges("deepar", feed())):
        assert space[name]._contains(float(current[name])), name


@pytest.mark.parametrize("image", [own_image(Names("parcels", "1"), "boosted", "1"), "1.dkr/loopcast-deepar:1"])
def test_the_objective_is_found_in_the_log_of_our_images(image: str) -> None:
    (definition,) = [item for item in metric_definitions(image) if item["Name"] == OBJECTIVE["MetricName"]]
    assert re.findall(definition["Regex"], report(Scores(7.0, 1.0, {0.5: 0.25}))) == ["0.25"]


def test_the_built_in_algorithm_takes_no_metric_definitions() -> None:
    assert metric_definitions(deepar_image("eu-west-1")) == []


def test_what_has_nothing_to_tune_is_refused() -> None:
    with pytest.raises(Refused, match="choose of boosted, deepar, statistical"):
        ranges("empirical", feed())


def tuned_result(current: float, tuned: float) -> dict[str, Any]:
    """The outcome when the two forecast the actual values times these factors."""
    forecasts = {
        role: [{0.5: window * factor} for window in ACTUAL]
        for role, factor in {"current": current, "tuned": tuned}.items()
    }
    found = {"algorithm": "boosted", "hyperparameters": {"eta": "0.1"}, "job": "t", "trials": 2, "loss": 0.1}
    return outcome("r1", found, {"eta": "0.05"}, ACTUAL, forecasts, SPLIT)


@given(st.floats(0.1, 2), st.floats(0.1, 2))
def test_what_is_better_on_the_newest_windows_is_kept(current: float, tuned: float) -> None:
    result = tuned_result(current, tuned)
    assert result["losses"]["tuned"] == pytest.approx(abs(1 - tuned))
    assert result["kept"] == (result["losses"]["tuned"] < result["losses"]["current"])
    assert ("written back" in result["decision"]) == result["kept"]


def test_the_same_is_not_better() -> None:
    result = tuned_result(0.9, 0.9)
    assert not result["kept"]
    assert "these stay" in result["decision"]
    assert result["hyperparameters"] == {"current": {"eta": "0.05"}, "tuned": {"eta": "0.1"}}
