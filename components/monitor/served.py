"""What a stage's endpoint serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.models import describe_endpoint, served_variant
from components.run import Refused
from loopcast import aws
from loopcast.names import Names

_CHANGING = {"Updating", "SystemUpdating", "RollingBack"}


@dataclass(frozen=True)
class Served:
    """The model that takes most of an endpoint's traffic, by the endpoint's configuration and variant.

    `package` is '' for a model that was not made of one; its `version` is then the model's name.
    """

    config: str
    variant: str
    model: str
    package: str
    version: str


@dataclass(frozen=True)
class Service:
    """What is served, since when (wall time), and until when (event time) its training data reaches, where known."""

    served: Served
    since: datetime
    trained_until: datetime | None


def find_service(names: Names, stage: str) -> Service | None:
    """What the stage's endpoint serves; None while it is being changed. Raises `Refused` where nothing serves."""
    name = names.endpoint(stage)
    endpoint = describe_endpoint(name)
    if endpoint is None:
        raise Refused(f"There is no endpoint {name}: deploy a model to {stage} first.")
    status = endpoint["EndpointStatus"]
    if status in _CHANGING:
        return None
    if status != "InService":
        raise Refused(f"The endpoint {name} is {status}, not in service: deploy a model to {stage}.")
    return _service(endpoint)


def _service(endpoint: Mapping[str, Any]) -> Service:
    variant, sagemaker = served_variant(endpoint), aws.client("sagemaker")
    arn = _package(sagemaker.describe_model(ModelName=variant["ModelName"]))
    package = sagemaker.describe_model_package(ModelPackageName=arn) if arn else {}
    version = str(package.get("ModelPackageVersion", variant["ModelName"]))
    trained_until = package.get("CustomerMetadataProperties", {}).get("data_end")
    return Service(
        Served(endpoint["EndpointConfigName"], variant["VariantName"], variant["ModelName"], arn, version),
        endpoint["LastModifiedTime"],
        datetime.fromisoformat(trained_until) if trained_until else None,
    )


def _package(model: Mapping[str, Any]) -> str:
    containers = [model.get("PrimaryContainer"), *model.get("Containers", [])]
    return next((str(item["ModelPackageName"]) for item in containers if item and item.get("ModelPackageName")), "")
