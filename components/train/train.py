"""Trains the candidates and the empirical baseline at the same time, each by a SageMaker training job.

One that fails does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from components import parameters
from components.jobs import Job, start
from components.models import tags
from components.run import Refused, Run
from components.together import run_together
from components.train.hyperparameters import hyperparameters
from components.train.images import image_of, metric_definitions
from loopcast.names import Names


@dataclass(frozen=True)
class Settings:
    """How jobs are run; `images` are those of algorithms that don't use their own."""

    instance_type: str
    images: Mapping[str, str]
    max_seconds: int
    poll_seconds: float


@dataclass(frozen=True)
class Model:
    """A finished training job; `seconds` is what SageMaker bills."""

    algorithm: str
    job: str
    image: str
    model_data: str
    seconds: int


@dataclass(frozen=True)
class Trained:
    """What was trained by algorithm, and why the training of others failed, a sentence each."""

    models: dict[str, Model]
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def train(run: Run, algorithms: Sequence[str], empirical_hours: int, settings: Settings) -> Trained:
    """Trains `algorithms`. Raises `Refused` when the training of every one fails."""
    starts = {algorithm: partial(_start, run, algorithm, empirical_hours, settings) for algorithm in algorithms}
    done, failed = run_together(starts, settings.poll_seconds, 2 * settings.max_seconds)
    if not done:
        raise Refused(f"Every training failed. {' '.join(failed.values())}")
    return Trained({algorithm: _model(algorithm, description) for algorithm, description in done.items()}, failed)


def _start(run: Run, algorithm: str, empirical_hours: int, settings: Settings) -> Job:
    parameters = hyperparameters(algorithm, run.feed, run.names, empirical_hours)
    request = definition(run, algorithm, settings) | {
        "HyperParameters": parameters,
        "Tags": tags(run.names, run=run.id),
    }
    return start(run, "training", f"train-{algorithm}", lambda _: request)


def definition(run: Run, algorithm: str, settings: Settings, folder: str = "") -> dict[str, Any]:
    """A training job's request but for its name, hyperparameters and tags; its channels lie in the run's `folder`."""
    image = image_of(run.names, algorithm, settings.images)
    metrics = metric_definitions(image)
    return {
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            **({"MetricDefinitions": metrics} if metrics else {}),
        },
        "RoleArn": run.names.role_arn("sagemaker"),
        "InputDataConfig": [_channel(run.uri(f"{folder}{name}", ""), name) for name in ("train", "test")],
        "OutputDataConfig": {"S3OutputPath": run.names.s3(run.names.models_prefix)},
        "ResourceConfig": {
            "InstanceType": settings.instance_type,
            "InstanceCount": instance_count(run.names, algorithm),
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_seconds},
    }


def instance_count(names: Names, algorithm: str) -> int:
    """How many instances train the algorithm: SSM's `/loopcast/<feed>/training/<algorithm>/instance_count`, else 1.

    Raises `Refused` when that is no whole number above 0.
    """
    path = ("training", algorithm, "instance_count")
    count = parameters.number(names, *path)
    if count is None:
        return 1
    if count < 1 or not count.is_integer():
        raise Refused(f"The parameter {names.parameter(*path)} must be a whole number above 0, not {count:g}.")
    return int(count)


def _channel(uri: str, name: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "json", "DataSource": {"S3DataSource": source}}


def _model(algorithm: str, description: Mapping[str, Any]) -> Model:
    return Model(
        algorithm=algorithm,
        job=description["TrainingJobName"],
        image=description["AlgorithmSpecification"]["TrainingImage"],
        model_data=description["ModelArtifacts"]["S3ModelArtifacts"],
        seconds=int(description.get("BillableTimeInSeconds", 0)),
    )
