"""What a build run came to, for people and for programs; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluate.labels import label


def result(evaluation: Mapping[str, Any], packages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run's result.

    `model_package_arn` and `model` are of the package that waits for approval: '' and null when there is none.
    `packages` are all that the run registered, with the reasons of those that it rejected.
    """
    waiting = next((package for package in packages if not package["reasons"]), None)
    decision = _decision(evaluation["scores"], packages)
    return {
        "run_id": evaluation["run_id"],
        "feed": evaluation["feed"],
        "model_package_arn": waiting["arn"] if waiting else "",
        "decision": decision,
        "model": {**_model(evaluation, waiting), "decision": decision} if waiting else None,
        "packages": list(packages),
        "backtest": {
            "windows": len(evaluation["windows"]),
            "quantiles": [f"{quantile:g}" for quantile in evaluation["quantiles"]],
            "rows": _rows(evaluation["scores"]),
        },
    }


def _model(evaluation: Mapping[str, Any], package: Mapping[str, Any]) -> dict[str, Any]:
    role = package["role"]
    return {
        "role": role,
        "algorithm": package["algorithm"],
        "model_package_arn": package["arn"],
        "loss": evaluation["scores"][role]["loss"],
    }


def _rows(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table of losses, the least first."""
    ordered = sorted(scores, key=lambda name: (scores[name]["loss"] is None, scores[name]["loss"] or 0.0))
    return [
        {"name": label(name), "loss": scores[name]["loss"], "quantiles": scores[name]["losses"]} for name in ordered
    ]


def _decision(scores: Mapping[str, Mapping[str, Any]], packages: Sequence[Mapping[str, Any]]) -> str:
    sentences = []
    for package in packages:
        name, loss = label(package["role"]), scores[package["role"]]["loss"]
        if package["reasons"]:
            sentences.append(f"Rejected: {name}. {' '.join(package['reasons'])}")
        else:
            sentences.append(f"Waits for approval: {name}, with a loss of {loss:.4g}.")
    return " ".join(sentences)
