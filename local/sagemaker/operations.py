"""Imports every module of operations: importing them registers them. The order is the order in which services start."""

from local.sagemaker import (
    endpoint_configs,
    endpoints,
    feature_store,
    feature_store_runtime,
    invocations,
    models,
    packages,
    processing,
    tags,
    training,
    transform,
)

__all__ = [
    "endpoint_configs",
    "endpoints",
    "feature_store",
    "feature_store_runtime",
    "invocations",
    "models",
    "packages",
    "processing",
    "tags",
    "training",
    "transform",
]
