"""SageMaker models: made once under a name, and found behind an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.jobs import absent_is_none
from loopcast import aws
from loopcast.names import Names


def create_model(names: Names, name: str, container: Mapping[str, Any]) -> str:
    """The model `name`, made of `container` unless it is there already; returns `name`."""
    if not _exists(name):
        try:
            aws.client("sagemaker").create_model(
                ModelName=name,
                ExecutionRoleArn=names.role_arn("sagemaker"),
                PrimaryContainer=container,
                Tags=tags(names),
            )
        except ClientError:
            if not _exists(name):  # no other process was faster
                raise
    return name


def _exists(name: str) -> bool:
    return absent_is_none(lambda: aws.client("sagemaker").describe_model(ModelName=name)) is not None


def describe_endpoint(name: str) -> dict[str, Any] | None:
    """What DescribeEndpoint answers; None when there is no such endpoint."""
    found: dict[str, Any] | None = absent_is_none(lambda: aws.client("sagemaker").describe_endpoint(EndpointName=name))
    return found


def served_variant(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The production variant of the described endpoint's configuration that takes most of the traffic."""
    config = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    return max(config["ProductionVariants"], key=lambda variant: variant.get("InitialVariantWeight", 1.0))


def served_model(names: Names, stage: str) -> str | None:
    """The name of the model that the stage's endpoint serves; None when there is no endpoint."""
    endpoint = describe_endpoint(names.endpoint(stage))
    return None if endpoint is None else str(served_variant(endpoint)["ModelName"])


def served_package(names: Names, stage: str) -> str | None:
    """The ARN of the model package that the stage's endpoint serves, in service; else None."""
    endpoint = describe_endpoint(names.endpoint(stage))
    if endpoint is None or endpoint["EndpointStatus"] != "InService":
        return None
    return model_package(served_variant(endpoint)["ModelName"])


def model_package(model_name: str) -> str | None:
    """The ARN of the model package that the model was made of; None when it was made of none, or is gone."""
    model = absent_is_none(lambda: aws.client("sagemaker").describe_model(ModelName=model_name)) or {}
    containers = [model.get("PrimaryContainer"), *model.get("Containers", [])]
    return next((container.get("ModelPackageName") for container in containers if container), None)


def tags(names: Names, **more: str) -> list[dict[str, str]]:
    """The tags of what a pipeline makes."""
    return [{"Key": f"loopcast:{key}", "Value": value} for key, value in {"feed": names.feed, **more}.items()]
