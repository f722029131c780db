"""Puts a model behind the endpoint of a stage without downtime, and takes it away again when it fails."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from components.jobs import absent_is_none, short_name
from components.models import create_model, describe_endpoint, tags
from components.run import Refused
from loopcast import aws
from loopcast.clock import Clock
from loopcast.names import Names

_log = logging.getLogger(__name__)
_PREVIOUS = "loopcast:previous-config"
_CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}


@dataclass(frozen=True)
class Waiting:
    """How long to wait for an endpoint, and how often to look."""

    poll_seconds: float
    limit_seconds: float
    clock: Clock


def package_model(names: Names, package: Mapping[str, Any]) -> str:
    """The name of the model made of a described package, the same for each stage; made when absent."""
    arn = package["ModelPackageArn"]
    digest = hashlib.sha256(f"{arn} {package['CreationTime'].isoformat()}".encode()).hexdigest()[:8]
    name = short_name(names.prefix, f"-v{package['ModelPackageVersion']}-{digest}")
    return create_model(names, name, {"ModelPackageName": arn})


def deploy(names: Names, stage: str, model: str, run_id: str, instance_type: str, waiting: Waiting) -> None:
    """Makes the stage's endpoint serve `model`, and waits until it does.

    Nothing changes when it serves the model on that instance type already. Raises `Refused` when it does not come
    into service; an update that fails leaves the endpoint as it was, a creation that fails leaves none.
    """
    endpoint = _settled(names.endpoint(stage), waiting)
    if endpoint is not None and endpoint["EndpointStatus"] == "Failed":
        _delete(names.endpoint(stage), waiting)  # it can't be updated, and has never served
        endpoint = None
    previous = endpoint["EndpointConfigName"] if endpoint else ""
    variant = _variant(model, instance_type)
    if previous and _serves(previous, variant):
        _log.info("%s serves %s already", names.endpoint(stage), model)
        return
    config = _create_config(names, stage, variant, run_id, previous)
    _point(names.endpoint(stage), config, exists=endpoint is not None)
    _await_config(names.endpoint(stage), config, waiting)


def roll_back(names: Names, stage: str, run_id: str, waiting: Waiting) -> str:
    """Takes back what `deploy` of the run `run_id` did to the stage's endpoint, and says so in a clause."""
    name, config = names.endpoint(stage), config_name(names, stage, run_id)
    endpoint = _settled(name, waiting)
    if endpoint is None or endpoint["EndpointConfigName"] != config:
        return "the endpoint was left as it is, because another run configured it"
    previous = _previous_config(config)
    if not previous:
        _delete(name, waiting)
        return "the endpoint was deleted, because it served nothing before"
    _point(name, previous, exists=True)
    _await_config(name, previous, waiting)
    return "the endpoint serves what it served before"


def config_name(names: Names, stage: str, run_id: str) -> str:
    return short_name(f"{names.endpoint(stage)}-{run_id}")


def _variant(model: str, instance_type: str) -> dict[str, Any]:
    return {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": instance_type,
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }


def _serves(config: str, variant: Mapping[str, Any]) -> bool:
    described = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    return [{key: item.get(key) for key in variant} for item in described["ProductionVariants"]] == [variant]


def _create_config(names: Names, stage: str, variant: Mapping[str, Any], run_id: str, previous: str) -> str:
    sagemaker, name = aws.client("sagemaker"), config_name(names, stage, run_id)
    if absent_is_none(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name)) is None:
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant],
            DataCaptureConfig=_capture(names),
            Tags=[*tags(names, run=run_id), *([{"Key": _PREVIOUS, "Value": previous}] if previous else [])],
        )
    elif not _serves(name, variant):
        raise Refused(f"The run {run_id} was for another model or instance type: deploy under another run's id.")
    return name


def _capture(names: Names) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": names.s3(names.capture_prefix).rstrip("/"),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }


def _previous_config(config: str) -> str:
    sagemaker = aws.client("sagemaker")
    arn = sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
    found = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    return str(found.get(_PREVIOUS, ""))


def _point(endpoint: str, config: str, *, exists: bool) -> None:
    sagemaker = aws.client("sagemaker")
    if not exists:
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    elif sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"] != config:
        sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)


def _await_config(endpoint: str, config: str, waiting: Waiting) -> None:
    described = _settled(endpoint, waiting) or {"EndpointStatus": "deleted"}
    status = described["EndpointStatus"]
    if status == "InService" and described["EndpointConfigName"] == config:
        return
    if status == "Failed":
        _delete(endpoint, waiting)
    reason = str(described.get("FailureReason") or f"its status is {status}").rstrip(".")
    raise Refused(f"The endpoint {endpoint} did not come into service with {config}: {reason}.")


def _settled(endpoint: str, waiting: Waiting) -> dict[str, Any] | None:
    """The endpoint's description once it changes no more; None when there is none."""
    deadline = waiting.clock.monotonic() + waiting.limit_seconds
    while True:
        described = describe_endpoint(endpoint)
        if described is None or described["EndpointStatus"] not in _CHANGING:
            return described
        if waiting.clock.monotonic() >= deadline:
            status = described["EndpointStatus"]
            raise Refused(f"{endpoint} is still {status} after {waiting.limit_seconds:.0f} s: start the step again.")
        waiting.clock.sleep(waiting.poll_seconds)


def _delete(endpoint: str, waiting: Waiting) -> None:
    try:
        aws.client("sagemaker").delete_endpoint(EndpointName=endpoint)
    except ClientError:
        if describe_endpoint(endpoint) is not None:
            raise
    _settled(endpoint, waiting)
