"""Where a tuning job looks next."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.search import BadSearch, Trial, propose

RANGES = {
    "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "300"}],
    "ContinuousParameterRanges": [
        {"Name": "learning_rate", "MinValue": "1e-5", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    ],
    "CategoricalParameterRanges": [{"Name": "likelihood", "Values": ["student-T", "gaussian"]}],
}


def config(strategy: str = "Bayesian", kind: str = "Minimize") -> dict[str, Any]:
    return {"Strategy": strategy, "HyperParameterTuningJobObjective": {"Type": kind, "MetricName": "loss"}}


def searched(trials: int, loss: Any, kind: str = "Minimize", strategy: str = "Bayesian") -> list[Trial]:
    """What a search of so many trials has tried."""
    past: list[Trial] = []
    for _ in range(trials):
        chosen = propose(config(strategy, kind), RANGES, past, seed=3)
        assert chosen is not None
        past.append(Trial(chosen, loss(chosen)))
    return past


@given(
    st.integers(0, 2**20), st.lists(st.floats(0, 10) | st.none(), max_size=8), st.sampled_from(["Bayesian", "Random"])
)
def test_each_proposal_lies_in_its_ranges_whatever_came_before(
    seed: int, values: list[float | None], strategy: str
) -> None:
    past: list[Trial] = []
    for value in [*values, None]:
        chosen = propose(config(strategy), RANGES, past, seed)
        assert chosen is not None
        assert 1 <= int(chosen["epochs"]) <= 300
        assert 1e-5 <= float(chosen["learning_rate"]) <= 0.1
        assert chosen["likelihood"] in ("student-T", "gaussian")
        past.append(Trial(chosen, value))


def test_the_same_past_and_seed_give_the_same_proposal() -> None:
    past = searched(7, lambda chosen: float(chosen["learning_rate"]))
    assert propose(config(), RANGES, past, seed=3) == propose(config(), RANGES, past, seed=3)
    assert propose(config(), RANGES, past, seed=3) != propose(config(), RANGES, past, seed=4)


@pytest.mark.parametrize("kind", ["Minimize", "Maximize"])
def test_a_bayesian_search_moves_towards_what_did_well(kind: str) -> None:
    sign = 1 if kind == "Minimize" else -1
    past = searched(30, lambda chosen: sign * abs(int(chosen["epochs"]) - 20), kind)
    late = sorted(abs(int(trial.parameters["epochs"]) - 20) for trial in past[20:])
    early = sorted(abs(int(trial.parameters["epochs"]) - 20) for trial in past[:10])
    assert late[len(late) // 2] < early[len(early) // 2]


def test_a_grid_is_walked_through_once() -> None:
    ranges = {
        "CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y", "z"]}]
    }
    past: list[Trial] = []
    while (chosen := propose(config("Grid"), ranges, past, seed=1)) is not None:
        past.append(Trial(chosen))
    assert {(trial.parameters["a"], trial.parameters["b"]) for trial in past} == {
        (a, b) for a in ("1", "2") for b in ("x", "y", "z")
    }
    assert len(past) == 6


@pytest.mark.parametrize(
    ("strategy", "ranges", "said"),
    [
        ("Hyperband", RANGES, "strategy Hyperband"),
        ("Bayesian", {}, "at least one hyperparameter"),
        ("Grid", RANGES, "epochs has another"),
        ("Random", {"IntegerParameterRanges": [{"Name": "n", "MinValue": "3", "MaxValue": "2"}]}, "must not be above"),
        (
            "Random",
            {"IntegerParameterRanges": [{"Name": "n", "MinValue": "0.5", "MaxValue": "2"}]},
            "numbers of its kind",
        ),
        (
            "Random",
            {
                "ContinuousParameterRanges": [
                    {"Name": "x", "MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}
                ]
            },
            "above 0",
        ),
        (
            "Random",
            {
                "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "2"}],
                "CategoricalParameterRanges": [{"Name": "n", "Values": ["1"]}],
            },
            "one range",
        ),
    ],
)
def test_what_can_not_be_searched_is_refused_with_a_reason(strategy: str, ranges: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSearch, match=said):
        propose(config(strategy), ranges, [], seed=1)
