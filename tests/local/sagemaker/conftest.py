"""A real SageMaker on a free port, with an image that is a tiny program of these tests."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from loopcast import aws as kernel
from tests.conftest import Service, environment, free_port, running

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny:1"
ROLE = "arn:aws:iam::000000000000:role/tests"
BUCKET = "sagemaker-tests"
STEP_SECONDS = 0.02
IMAGES = f"""
images:
  - pattern: "*tiny:*"
    python: {sys.executable}
    module: tests.local.sagemaker.program
    metrics: {{"tiny:loss": "loss=(\\\\S+)"}}
  - pattern: "*sagemaker-model-monitor-analyzer*"
    python: {sys.executable}
    module: local.sagemaker.analyzer
  - pattern: "*no-environment:*"
    python: .venv/nowhere/bin/python
    module: nothing
"""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.yaml"
    path.write_text(IMAGES)
    return path


@pytest.fixture(scope="session")
def bucket(aws: Service) -> str:
    kernel.client("s3").create_bucket(Bucket=BUCKET)
    return BUCKET


@pytest.fixture(scope="package")
def local(aws: Service, bucket: str, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The server that most tests share."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    flags = ("--images", str(images), "--step-seconds", str(STEP_SECONDS), "--grace-seconds", "0.3")
    with environment(_endpoints(endpoint)), running("local.sagemaker", endpoint, tmp_path_factory.mktemp("s"), *flags):
        yield Service(endpoint, dict(os.environ))


@pytest.fixture(scope="package")
def sagemaker_client(local: Service) -> Any:
    return client(local.endpoint, "sagemaker")


@pytest.fixture(scope="package")
def runtime(local: Service) -> Any:
    return client(local.endpoint, "sagemaker-runtime")


@pytest.fixture
def own_server(aws: Service, bucket: str, images: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Any]]:
    """`with own_server(endpoint) as process`: a server over this test's own state, that it can kill and start again."""

    def start(endpoint: str, *flags: str) -> AbstractContextManager[Any]:
        return running(
            "local.sagemaker", endpoint, tmp_path, "--images", str(images), "--step-seconds", str(STEP_SECONDS), *flags
        )

    return start


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@cache
def client(endpoint: str, service: str) -> Any:
    """A client as any user makes it, but for the address."""
    return boto3.session.Session().client(service, endpoint_url=endpoint, region_name="us-east-1")


def put(key: str, body: bytes | str) -> str:
    """Puts an object; its address."""
    kernel.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def get(uri: str) -> bytes:
    bucket, key = kernel.split_s3(uri)
    return bytes(kernel.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def keys(prefix: str) -> list[str]:
    answer = kernel.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]


def put_model(key: str, name: str) -> str:
    """Puts a model.tar.gz that holds a name; its address."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("name.txt")
        info.size = len(name)
        tar.addfile(info, io.BytesIO(name.encode()))
    return put(key, buffer.getvalue())


def unpacked(uri: str) -> dict[str, bytes]:
    """The files in a tar.gz file."""
    with tarfile.open(fileobj=io.BytesIO(get(uri)), mode="r:gz") as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What `condition` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.03)
    return value


def training_job(name: str, **changes: Any) -> dict[str, Any]:
    """A request for CreateTrainingJob."""
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    return request | changes


def channel(name: str, uri: str, kind: str = "S3Prefix") -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "ContentType": "json"}


def ended(sagemaker: Any, kind: str, name: str) -> dict[str, Any]:
    """What Describe answers of a job of `kind` (training, processing, transform), once it has ended."""

    def look() -> dict[str, Any] | None:
        described = getattr(sagemaker, f"describe_{kind}_job")(**{f"{kind.capitalize()}JobName": name})
        return described if described[f"{kind.capitalize()}JobStatus"] in ("Completed", "Failed", "Stopped") else None

    return wait_until(look)


def trained(sagemaker: Any, name: str, **changes: Any) -> dict[str, Any]:
    """Runs a training job; what Describe answers then."""
    sagemaker.create_training_job(**training_job(name, **changes))
    return ended(sagemaker, "training", name)


def saw(job: dict[str, Any]) -> dict[str, Any]:
    """What the tiny program has written down of its surroundings."""
    return json.loads(unpacked(job["ModelArtifacts"]["S3ModelArtifacts"])["saw.json"])


def deploy(sagemaker: Any, name: str, capture: dict[str, Any] | None = None, **weights: float) -> dict[str, Any]:
    """An endpoint in service with a variant for each weight."""
    configure(sagemaker, name, capture, **(weights or {"a": 1}))
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return in_service(sagemaker, name)


def configure(
    sagemaker: Any,
    name: str,
    capture: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    image: str = IMAGE,
    **weights: float,
) -> None:
    for variant in weights:
        container = {"Image": image, "ModelDataUrl": put_model(f"{name}/{variant}.tar.gz", variant)}
        sagemaker.create_model(
            ModelName=f"{name}-{variant}",
            ExecutionRoleArn=ROLE,
            PrimaryContainer=container | {"Environment": environment or {}},
        )
    variants = [
        {
            "VariantName": variant,
            "ModelName": f"{name}-{variant}",
            "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.large",
            "InitialVariantWeight": weight,
        }
        for variant, weight in weights.items()
    ]
    extra = {"DataCaptureConfig": capture} if capture else {}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **extra)


def settled(sagemaker: Any, name: str) -> dict[str, Any] | None:
    endpoint = sagemaker.describe_endpoint(EndpointName=name)
    return endpoint if endpoint["EndpointStatus"] in ("InService", "Failed") else None


def in_service(sagemaker: Any, name: str) -> dict[str, Any]:
    endpoint = wait_until(lambda: settled(sagemaker, name))
    assert endpoint["EndpointStatus"] == "InService", endpoint.get("FailureReason")
    return endpoint


def _endpoints(endpoint: str) -> dict[str, str]:
    names = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "SAGEMAKER_FEATURESTORE_RUNTIME")
    return {f"AWS_ENDPOINT_URL_{name}": endpoint for name in names}
