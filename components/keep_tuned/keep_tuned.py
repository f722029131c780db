"""Judges what a search has found beside the hyperparameters as they are, on windows that neither has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.backtest.backtest import backtest
from components.baselines import Forecast
from components.evaluate.evaluate import predictions_of
from components.evaluate.scores import finite, score
from components.history import Array, History
from components.jobs import TUNING_ROLES, completed, start, wait
from components.models import create_model, tags
from components.paired import compare
from components.run import Refused, Run, read
from components.train.hyperparameters import hyperparameters
from components.train.train import Settings, definition
from components.windows import Split
from loopcast import aws
from loopcast.clock import Clock
from loopcast.names import Names


def judge(
    run: Run, history: History, split: Split, tuned: Mapping[str, Any], settings: Settings, instance_type: str
) -> dict[str, Any]:
    """Trains and backtests with both sets of hyperparameters; the result, which says in `kept` which is the better.

    Raises `Refused` when one can't be trained or judged.
    """
    sets = _sets(run, tuned)
    models = _train(run, tuned["algorithm"], sets, settings)
    answers = backtest(run, models, instance_type, settings.max_seconds, settings.poll_seconds)
    texts = {role: read(uri) for role, uri in answers["predictions"].items()}
    forecasts, unsound = predictions_of(texts, split, run.feed.forecast.quantiles)
    failed = {**answers["failed"], **unsound}
    if failed:
        raise Refused(f"The hyperparameters can't be compared. {' '.join(failed.values())}")
    return outcome(run.id, tuned, sets["current"], split.actuals(history), forecasts, split)


def outcome(
    run_id: str,
    tuned: Mapping[str, Any],
    current: Mapping[str, str],
    actuals: Sequence[Array],
    forecasts: Mapping[str, Sequence[Forecast]],
    split: Split,
) -> dict[str, Any]:
    """The result of the comparison: what is kept, and why; pure."""
    scores = {role: score(actuals, forecasts[role]) for role in TUNING_ROLES}
    before, after = scores["current"], scores["tuned"]
    kept = after.loss < before.loss
    against = compare(after.window_losses, before.window_losses, split.origins, split.horizon)
    verb = "is below" if kept else "is not below"
    said = f"Its loss of {after.loss:.4g} on the newest windows {verb} the {before.loss:.4g} of the current ones"
    document = {
        "run_id": run_id,
        "algorithm": tuned["algorithm"],
        "kept": kept,
        "decision": f"{said}: {'they are written back' if kept else 'these stay'}.",
        "hyperparameters": {
            "current": {name: current.get(name, "") for name in tuned["hyperparameters"]},
            "tuned": tuned["hyperparameters"],
        },
        "losses": {role: item.loss for role, item in scores.items()},
        "comparison": against.to_json(),
        "search": {"job": tuned["job"], "trials": tuned["trials"], "loss": tuned["loss"]},
    }
    checked: dict[str, Any] = finite(document)
    return checked


def keep(names: Names, algorithm: str, found: Mapping[str, str]) -> None:
    """Writes hyperparameters to SSM, where the next build reads them."""
    for name, value in sorted(found.items()):
        aws.client("ssm").put_parameter(
            Name=names.parameter("hyperparameters", algorithm, name), Value=value, Type="String", Overwrite=True
        )


def _sets(run: Run, tuned: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    current = hyperparameters(tuned["algorithm"], run.feed, run.names, 1)
    return {"current": current, "tuned": {**current, **tuned["hyperparameters"]}}


def _train(run: Run, algorithm: str, sets: Mapping[str, Mapping[str, str]], settings: Settings) -> dict[str, str]:
    """The names of the models, by role."""
    common = definition(run, algorithm, settings) | {"Tags": tags(run.names, run=run.id)}
    jobs = {role: start(run, "training", f"train-{role}", _with(common, sets[role])) for role in TUNING_ROLES}
    over = wait(list(jobs.values()), settings.poll_seconds, 2 * settings.max_seconds, Clock())
    models = {}
    for (role, job), description in zip(jobs.items(), over, strict=True):
        done = completed(job, description)
        image = done["AlgorithmSpecification"]["TrainingImage"]
        container = {"Image": image, "ModelDataUrl": done["ModelArtifacts"]["S3ModelArtifacts"]}
        models[role] = create_model(run.names, job.name, container)
    return models


def _with(common: Mapping[str, Any], parameters: Mapping[str, str]) -> Any:
    return lambda _: {**common, "HyperParameters": parameters}
