"""Imports every module of operations: importing them registers them. The order is the order in which services start."""

from local.sagemaker import (
    endpoint_configs,
    endpoints,
    events,
    executions,
    feature_store,
    feature_store_runtime,
    invocations,
    job_definitions,
    models,
    monitoring,
    packages,
    processing,
    tags,
    training,
    transform,
    tuning,
)

__all__ = [
    "endpoint_configs",
    "endpoints",
    "events",
    "executions",
    "feature_store",
    "feature_store_runtime",
    "invocations",
    "job_definitions",
    "models",
    "monitoring",
    "packages",
    "processing",
    "tags",
    "training",
    "transform",
    "tuning",
]
