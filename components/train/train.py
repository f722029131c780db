"""Trains the candidates and the empirical baseline at the same time, each by a SageMaker training job.

One that fails does not hold up the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from components import parameters
from components.jobs import Job, completed, start, wait
from components.models import tags
from components.run import Refused, Run
from components.train.hyperparameters import hyperparameters
from components.train.images import image_of
from loopcast.clock import Clock
from loopcast.names import Names

_log = logging.getLogger(__name__)


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
    jobs, failed = _start_all(run, algorithms, empirical_hours, settings)
    over = wait(list(jobs.values()), settings.poll_seconds, 2 * settings.max_seconds, Clock())
    models = {}
    for (algorithm, job), description in zip(jobs.items(), over, strict=True):
        try:
            models[algorithm] = _model(algorithm, completed(job, description))
        except Refused as error:
            failed[algorithm] = str(error)
            _log.warning("%s is out of the run: %s", algorithm, error)
    if not models:
        raise Refused(f"Every training failed. {' '.join(failed.values())}")
    return Trained(models, failed)


def _start_all(
    run: Run, algorithms: Sequence[str], empirical_hours: int, settings: Settings
) -> tuple[dict[str, Job], dict[str, str]]:
    """The jobs by algorithm, and why those of others could not be started."""
    jobs, failed = {}, {}
    for algorithm in algorithms:
        try:
            jobs[algorithm] = _start(run, algorithm, empirical_hours, settings)
        except Refused as error:
            failed[algorithm] = str(error)
        except ClientError as error:  # what is wrong with this job's request says nothing of the others'
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            failed[algorithm] = f"SageMaker refused the training job: {error.response['Error']['Message']}"
    return jobs, failed


def _start(run: Run, algorithm: str, empirical_hours: int, settings: Settings) -> Job:
    request = {
        "AlgorithmSpecification": {
            "TrainingImage": image_of(run.names, algorithm, settings.images),
            "TrainingInputMode": "File",
        },
        "RoleArn": run.names.role_arn("sagemaker"),
        "HyperParameters": hyperparameters(algorithm, run.feed, run.names, empirical_hours),
        "InputDataConfig": [_channel(run, "train"), _channel(run, "test")],
        "OutputDataConfig": {"S3OutputPath": run.names.s3(run.names.models_prefix)},
        "ResourceConfig": {
            "InstanceType": settings.instance_type,
            "InstanceCount": instance_count(run.names, algorithm),
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_seconds},
        "Tags": tags(run.names, run=run.id),
    }
    return start(run, "training", f"train-{algorithm}", lambda _: request)


def instance_count(names: Names, algorithm: str) -> int:
    """How many instances train the algorithm: SSM's `/loopcast/<feed>/training/<algorithm>/instance_count`, else 1.

    Raises `Refused` when that is no whole number above 0.
    """
    path = ("training", algorithm, "instance_count")
    count = parameters.number(names, *path)
    if count is None:
        return 1
    if count < 1 or count != int(count):
        raise Refused(f"The parameter {names.parameter(*path)} must be a whole number above 0, not {count:g}.")
    return int(count)


def _channel(run: Run, name: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": run.uri(name, ""), "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "json", "DataSource": {"S3DataSource": source}}


def _model(algorithm: str, description: Mapping[str, Any]) -> Model:
    return Model(
        algorithm=algorithm,
        job=description["TrainingJobName"],
        image=description["AlgorithmSpecification"]["TrainingImage"],
        model_data=description["ModelArtifacts"]["S3ModelArtifacts"],
        seconds=int(description.get("BillableTimeInSeconds", 0)),
    )
