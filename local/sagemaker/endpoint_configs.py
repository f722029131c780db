"""Endpoint configurations: which variants of which models an endpoint serves, with which weights."""

from __future__ import annotations

from local.sagemaker import models
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ValidationException
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, create, describe, listing

KIND = Kind(
    arn="endpoint-config",
    prefix="EndpointConfig",
    missing='Could not find endpoint configuration "{arn}".',
    taken='Cannot create already existing endpoint configuration "{arn}".',
    newest_first=True,
)


@operation("CreateEndpointConfig")
def create_endpoint_config(context: Context, request: Json) -> Json:
    for name in ("AsyncInferenceConfig", "ExplainerConfig"):
        if name in request:
            raise ValidationException(f"{name} is not known to this SageMaker.")
    serving, shadows = request["ProductionVariants"], request.get("ShadowProductionVariants", [])
    if shadows and (len(serving), len(shadows)) != (1, 1):
        raise ValidationException("A configuration with a shadow has one variant in ProductionVariants and one shadow.")
    names = [variant["VariantName"] for variant in [*serving, *shadows]]
    if len(set(names)) != len(names):
        raise ValidationException(f"The names of variants must differ: {', '.join(names)}.")
    return create(context, KIND, _with_defaults(context, request), {"CreationTime": now()})


@operation("DescribeEndpointConfig")
def describe_endpoint_config(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["EndpointConfigName"])


@operation("ListEndpointConfigs")
def list_endpoint_configs(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListEndpointConfigs", request)


@operation("DeleteEndpointConfig")
def delete_endpoint_config(context: Context, request: Json) -> Json:
    KIND.delete(context, request["EndpointConfigName"])
    return {}


def _with_defaults(context: Context, request: Json) -> Json:
    kinds = [kind for kind in ("ProductionVariants", "ShadowProductionVariants") if kind in request]
    return {**request, **{kind: [_variant(context, variant) for variant in request[kind]] for kind in kinds}}


def _variant(context: Context, variant: Json) -> Json:
    if "ModelName" not in variant:
        raise ValidationException(f"The variant {variant['VariantName']} needs a ModelName.")
    models.KIND.find(context, variant["ModelName"])
    return {"InitialVariantWeight": 1.0, "InitialInstanceCount": 1, **variant}
