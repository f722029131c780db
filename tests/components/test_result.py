"""A run's result says in words what came of it and why."""

from typing import Any

from components.gate.gate import decide
from components.register.result import result
from tests.components.test_gate import evaluation


def result_of(failed: dict[str, str] | None = None, **losses: float | list[float] | None) -> dict[str, Any]:
    """The result of a run with these losses, all of whose packages were registered."""
    judged = evaluation(failed, **losses)
    for score in judged["scores"].values():
        score["losses"] = {}
    judged |= {"run_id": "r1", "feed": "parcels", "windows": [None] * 8, "quantiles": [0.5]}
    verdict = decide(judged, None, 0.5)
    packages = [{**entry, "algorithm": entry["role"], "arn": f"arn:{entry['role']}"} for entry in verdict["register"]]
    return result(judged, verdict, packages)


def test_the_best_candidate_waits_and_every_other_says_why_it_does_not() -> None:
    found = result_of({"statistical": "It broke."}, boosted=0.125, deepar=0.25, empirical=0.5)
    assert (found["model_package_arn"], found["model"]["algorithm"]) == ("arn:boosted", "boosted")
    assert {entry["algorithm"]: (entry["status"], entry["loss"]) for entry in found["candidates"]} == {
        "boosted": ("PendingManualApproval", 0.125),
        "deepar": ("Rejected", 0.25),
        "statistical": ("Rejected", None),
    }
    assert found["decision"] == (
        "Waits for approval: gradient boosting, with a loss of 0.125. Left out: statistical model. It broke."
    )
    assert [row["name"] for row in found["backtest"]["rows"]][:2] == ["gradient boosting", "DeepAR"]


def test_a_challenger_that_waits_is_told_beside_the_champion_with_the_tests_outcome() -> None:
    found = result_of(boosted=0.25, production=0.5)
    assert found["champion"] == {"stage": "production", "loss": 0.5}
    assert found["decision"] == (
        "Waits for approval: gradient boosting, with a loss of 0.25 against the 0.5 of the model in production "
        "(p-value 0.0039 over 8 windows)."
    )
    assert found["model"]["against_champion"] == {"difference": 0.25, "p_value": 1 / 256, "windows": 8}


def test_where_the_champion_stays_nothing_waits_and_the_decision_says_why() -> None:
    found = result_of({"production": "never mind"}, boosted=0.5, empirical=0.4, staging=0.25)
    assert (found["model_package_arn"], found["model"]) == ("", None)
    assert found["decision"].startswith(
        "The model in staging stays. Rejected: gradient boosting. Its loss of 0.5 is not"
    )
    assert "Left out: model in production. never mind" in found["decision"]
