"""Searches an algorithm's hyperparameters with a SageMaker tuning job, on none of the windows that judge its finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.algorithms import CANDIDATES, CHAMPION_STAGES, candidates_of
from components.history import History
from components.hold_out.hold_out import evaluation_channel, hold_out, training_channel
from components.jobs import completed, start, wait
from components.models import served_package, tags
from components.run import Refused, Run, write
from components.train.hyperparameters import hyperparameters
from components.train.train import Settings, definition
from components.tune.ranges import ranges, tuned_names
from components.windows import Split
from loopcast import aws
from loopcast.clock import Clock
from loopcast.names import Names

FOLDER = "tuning/"
OBJECTIVE = {"Type": "Minimize", "MetricName": "test:mean_wQuantileLoss"}


@dataclass(frozen=True)
class Search:
    """How much is tried: training jobs in all, and at the same time."""

    jobs: int
    parallel: int


@dataclass(frozen=True)
class Tuned:
    """The best hyperparameters that a search found, and their loss in the windows before the held-out ones."""

    algorithm: str
    job: str
    hyperparameters: dict[str, str]
    loss: float
    trials: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def algorithm_to_tune(names: Names, given: str) -> str:
    """`given`, else the algorithm of the model in service, else the first of the build's candidates."""
    served = next(filter(None, (served_package(names, stage) for stage in CHAMPION_STAGES)), None)
    if given or served is None:
        return given or candidates_of(names)[0]
    package = aws.client("sagemaker").describe_model_package(ModelPackageName=served)
    algorithm = package.get("CustomerMetadataProperties", {}).get("algorithm", "")
    return algorithm if algorithm in CANDIDATES else candidates_of(names)[0]


def write_channels(run: Run, history: History, split: Split) -> int:
    """The channels of the search, made of what lies before the held-out windows; how many windows they test on."""
    past = history.until(split.first)
    inner = hold_out(past, split.horizon, len(split.origins), 0)
    write(run.uri(f"{FOLDER}train", "series.json"), training_channel(past, inner), "application/jsonlines")
    write(run.uri(f"{FOLDER}test", "series.json"), evaluation_channel(past, inner), "application/jsonlines")
    return len(inner.origins)


def tune(run: Run, algorithm: str, search: Search, settings: Settings) -> Tuned:
    """Runs the search over the channels that are there. Raises `Refused` when it finds nothing."""
    current = hyperparameters(algorithm, run.feed, run.names, 1)
    request = _request(run, algorithm, current, search, settings)
    job = start(run, "tuning", "tune", lambda _: request)
    limit = 2 * settings.max_seconds * search.jobs
    (over,) = wait([job], settings.poll_seconds, limit, Clock())
    return _tuned(algorithm, job.name, completed(job, over))


def _request(
    run: Run, algorithm: str, current: Mapping[str, str], search: Search, settings: Settings
) -> dict[str, Any]:
    space = ranges(algorithm, run.feed)
    static = {name: value for name, value in current.items() if name not in tuned_names(space)}
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": OBJECTIVE,
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": search.jobs,
                "MaxParallelTrainingJobs": min(search.parallel, search.jobs),
            },
            "ParameterRanges": space,
        },
        "TrainingJobDefinition": {
            **definition(run, algorithm, settings, FOLDER),
            "StaticHyperParameters": static,
        },
        "Tags": tags(run.names, run=run.id),
    }


def _tuned(algorithm: str, job: str, description: Mapping[str, Any]) -> Tuned:
    best = description.get("BestTrainingJob")
    if best is None:
        raise Refused(f"The tuning job {job} has found nothing: no training job gave a loss.")
    counters = description["TrainingJobStatusCounters"]
    return Tuned(
        algorithm=algorithm,
        job=job,
        hyperparameters=dict(best["TunedHyperParameters"]),
        loss=float(best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]),
        trials=sum(counters.values()),
    )
