"""Models: what an endpoint or a transform job serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.sagemaker import storage
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ValidationException
from local.sagemaker.packages import find_package
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, create, describe, listing

KIND = Kind(
    arn="model",
    prefix="Model",
    missing='Could not find model "{arn}".',
    taken='Cannot create already existing model "{arn}".',
    newest_first=True,
)


@dataclass(frozen=True)
class Container:
    """What is run to serve a model: an image, the address of its model.tar.gz (or of a folder, ending in a slash) if
    it has one, and its variables."""

    image: str
    model_data: str | None
    environment: dict[str, str]


@operation("CreateModel")
def create_model(context: Context, request: Json) -> Json:
    containers = request.get("Containers") or [request.get("PrimaryContainer")]
    if len(containers) != 1 or containers[0] is None:
        raise ValidationException("A model has one container here: give PrimaryContainer, or one of Containers.")
    container = resolve(context, containers[0])
    if container.model_data and not container.model_data.endswith("/") and not storage.exists(container.model_data):
        raise ValidationException(f"Could not find model data at {container.model_data}.")
    document = {
        "CreationTime": now(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "DeploymentRecommendation": {"RecommendationStatus": "NOT_APPLICABLE", "RealTimeInferenceRecommendations": []},
    }
    return create(context, KIND, request, document)


@operation("DescribeModel")
def describe_model(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["ModelName"])


@operation("ListModels")
def list_models(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListModels", request)


@operation("DeleteModel")
def delete_model(context: Context, request: Json) -> Json:
    KIND.delete(context, request["ModelName"])
    return {}


def container_of(context: Context, model_name: str) -> Container:
    """What is run to serve the model. Raises `ValidationException` when it is no more there."""
    document = KIND.find(context, model_name).document
    return resolve(context, document.get("PrimaryContainer") or document["Containers"][0])


def resolve(context: Context, definition: Json) -> Container:
    """A ContainerDefinition with what its model package says. Raises `ValidationException`."""
    given = dict(definition)
    if "ModelPackageName" in given:
        inference = find_package(context, given["ModelPackageName"]).document.get("InferenceSpecification")
        if not inference:
            raise ValidationException(f"The model package {given['ModelPackageName']} has no InferenceSpecification.")
        own = inference["Containers"][0]
        given = {**own, "Environment": {**own.get("Environment", {}), **given.get("Environment", {})}}
    if "Image" not in given:
        raise ValidationException("The container definition needs an Image or a ModelPackageName.")
    return Container(given["Image"], _model_data(given), given.get("Environment", {}))


def _model_data(definition: Json) -> str | None:
    source: dict[str, Any] = definition.get("ModelDataSource", {}).get("S3DataSource", {})
    address: str | None = definition.get("ModelDataUrl") or source.get("S3Uri")
    if source.get("S3DataType") == "S3Prefix" and address and not address.endswith("/"):
        return f"{address}/"
    return address
