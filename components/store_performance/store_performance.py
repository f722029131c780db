"""Stores each model's performance where the registry, the deploy pipeline and the monitor look for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.run import Run, write_json
from components.store_performance.constraints import of_evaluation


def store_performance(
    run: Run, evaluation: Mapping[str, Any], verdict: Mapping[str, Any], baseline: Mapping[str, Any]
) -> dict[str, str]:
    """The folder of statistics.json, constraints.json and baseline.json by role, for each model to be registered.

    `baseline` is that of the training data.
    """
    folders = {}
    for entry in verdict["register"]:
        role = entry["role"]
        write_json(run.uri(role, "statistics.json"), statistics(evaluation, role))
        write_json(run.uri(role, "constraints.json"), of_evaluation(evaluation, role))
        write_json(run.uri(role, "baseline.json"), baseline)
        folders[role] = run.uri(role)
    return folders


def statistics(evaluation: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The score of the model `role`, and what it was compared with in the same windows.

    `origins` are the starts of the windows, `window_losses` and `baseline_window_losses` (the best baseline's) their
    losses in the same order, null where there is none.
    """
    scores, baseline = evaluation["scores"], evaluation["best_baseline"]
    head = {key: evaluation[key] for key in ("run_id", "feed", "target", "unit", "horizon", "quantiles", "history")}
    return {
        **head,
        "role": role,
        **scores[role],
        "losses_of_all": {name: score["loss"] for name, score in scores.items()},
        "origins": [window["start"] for window in evaluation["windows"]],
        "best_baseline": baseline,
        "baseline_window_losses": scores[baseline]["window_losses"],
        "champion": evaluation["champion"],
        "against_champion": evaluation["against_champion"].get(role),
    }
