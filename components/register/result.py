"""What a build run came to, for people and for programs; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluate.labels import label


def result(
    evaluation: Mapping[str, Any], verdict: Mapping[str, Any], packages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The run's result.

    `model_package_arn` and `model` are of the package that waits for approval: '' and null when there is none.
    `packages` are all that the run registered, with the reasons of those that it rejected; `candidates` all that it
    was to train, with the reasons of all but the one that waits. `champion` is the model that they were compared with.
    """
    waiting = next((package for package in packages if not package["reasons"]), None)
    decision = " ".join(_decision(evaluation, verdict, packages))
    return {
        "run_id": evaluation["run_id"],
        "feed": evaluation["feed"],
        "model_package_arn": waiting["arn"] if waiting else "",
        "decision": decision,
        "model": {**_model(evaluation, waiting), "decision": decision} if waiting else None,
        "champion": _champion(evaluation),
        "candidates": [_candidate(evaluation, entry) for entry in verdict["candidates"]],
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
        "against_champion": package["against_champion"],
    }


def _champion(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    stage = evaluation["champion"]
    return {"stage": stage, "loss": evaluation["scores"][stage]["loss"]} if stage else None


def _candidate(evaluation: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    algorithm = entry["role"]
    rest = {key: entry[key] for key in ("status", "reasons", "against_champion")}
    return {"algorithm": algorithm, "loss": evaluation["scores"].get(algorithm, {}).get("loss"), **rest}


def _rows(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table of losses, the least first."""
    ordered = sorted(scores, key=lambda name: (scores[name]["loss"] is None, scores[name]["loss"] or 0.0))
    return [
        {"name": label(name), "loss": scores[name]["loss"], "quantiles": scores[name]["losses"]} for name in ordered
    ]


def _decision(
    evaluation: Mapping[str, Any], verdict: Mapping[str, Any], packages: Sequence[Mapping[str, Any]]
) -> list[str]:
    champion, waits = evaluation["champion"], [package for package in packages if not package["reasons"]]
    sentences = [_waits(evaluation, package) for package in waits]
    if champion and not waits:
        sentences.append(f"The {label(champion)} stays.")
    rejected = [package for package in packages if package["reasons"]]
    sentences += [f"Rejected: {label(package['role'])}. {' '.join(package['reasons'])}" for package in rejected]
    return sentences + [f"Left out: {label(role)}. {reason}" for role, reason in evaluation["failed"].items()]


def _waits(evaluation: Mapping[str, Any], package: Mapping[str, Any]) -> str:
    scores, champion = evaluation["scores"], evaluation["champion"]
    sentence = f"Waits for approval: {label(package['role'])}, with a loss of {scores[package['role']]['loss']:.4g}"
    if champion is None:
        return f"{sentence}."
    test = package["against_champion"]
    return (
        f"{sentence} against the {scores[champion]['loss']:.4g} of the {label(champion)} "
        f"(p-value {test['p_value']:.2g} over {test['windows']} windows)."
    )
