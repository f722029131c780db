"""Stores each model's performance where the registry, the deploy pipeline and the monitor look for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.run import Run, write_json
from components.store_performance.constraints import of_evaluation


def store_performance(run: Run, evaluation: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, str]:
    """The folder of statistics.json and constraints.json by role, for each model that the verdict registers."""
    folders = {}
    for entry in verdict["register"]:
        role = entry["role"]
        write_json(run.uri(role, "statistics.json"), statistics(evaluation, role))
        write_json(run.uri(role, "constraints.json"), of_evaluation(evaluation, role))
        folders[role] = run.uri(role)
    return folders


def statistics(evaluation: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The score of the model `role`, and the scores it was compared with."""
    scores = evaluation["scores"]
    head = {key: evaluation[key] for key in ("run_id", "feed", "target", "unit", "horizon", "quantiles", "history")}
    losses = {name: score["loss"] for name, score in scores.items()}
    return {**head, "role": role, **scores[role], "losses_of_all": losses}
