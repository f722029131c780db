"""Trains the candidate and the empirical baseline at the same time, each by a SageMaker training job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.image import VERSION
from components.jobs import Job, completed, start, wait
from components.models import tags
from components.run import Run
from components.train import hyperparameters
from components.train.images import deepar_image, own_image
from loopcast import aws
from loopcast.clock import Clock

CANDIDATE, EMPIRICAL = "deepar", "empirical"


@dataclass(frozen=True)
class Settings:
    """How jobs are run; an image is '' for the algorithm's own."""

    instance_type: str
    deepar_image: str
    empirical_image: str
    max_seconds: int
    poll_seconds: float


@dataclass(frozen=True)
class Trained:
    """A finished training job; `seconds` is what SageMaker bills."""

    algorithm: str
    job: str
    image: str
    model_data: str
    seconds: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def train(run: Run, empirical_hours: int, settings: Settings) -> dict[str, Trained]:
    """The trained models by algorithm. Raises `Refused` when a job fails or is stopped."""
    images = {
        CANDIDATE: settings.deepar_image or deepar_image(aws.region()),
        EMPIRICAL: settings.empirical_image or own_image(run.names, EMPIRICAL, VERSION),
    }
    parameters = {
        CANDIDATE: hyperparameters.deepar(run.feed, run.names),
        EMPIRICAL: hyperparameters.empirical(run.feed, run.names, empirical_hours),
    }
    jobs = {name: _start(run, name, images[name], parameters[name], settings) for name in (CANDIDATE, EMPIRICAL)}
    over = wait(list(jobs.values()), settings.poll_seconds, 2 * settings.max_seconds, Clock())
    return {
        name: _trained(name, completed(job, description))
        for (name, job), description in zip(jobs.items(), over, strict=True)
    }


def _start(run: Run, algorithm: str, image: str, parameters: Mapping[str, str], settings: Settings) -> Job:
    request = {
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": run.names.role_arn("sagemaker"),
        "HyperParameters": parameters,
        "InputDataConfig": [_channel(run, "train"), _channel(run, "test")],
        "OutputDataConfig": {"S3OutputPath": run.names.s3(run.names.models_prefix)},
        "ResourceConfig": {"InstanceType": settings.instance_type, "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_seconds},
        "Tags": tags(run.names, run=run.id),
    }
    return start(run, "training", f"train-{algorithm}", lambda _: request)


def _channel(run: Run, name: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": run.uri(name, ""), "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "json", "DataSource": {"S3DataSource": source}}


def _trained(algorithm: str, description: Mapping[str, Any]) -> Trained:
    return Trained(
        algorithm=algorithm,
        job=description["TrainingJobName"],
        image=description["AlgorithmSpecification"]["TrainingImage"],
        model_data=description["ModelArtifacts"]["S3ModelArtifacts"],
        seconds=int(description.get("BillableTimeInSeconds", 0)),
    )
