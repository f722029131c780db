"""How pods are made: the file of `--pods`, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel


class BadSettings(ValueError):
    """The file can't be used; the message says why."""


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, coerce_numbers_to_str=True
    )


class Resources(_Model):
    """What a container asks for and may use at most, as Kubernetes words it."""

    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class PodSettings(_Model):
    """`carrier_image` holds `local.sagemaker.carry`. `instances` are resources by instance type, `resources` those of
    all other types. A pod that still can't start after `waiting_seconds` is given up."""

    carrier_image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[str] = []
    resources: Resources = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "4Gi"})
    instances: dict[str, Resources] = {}
    carrier_resources: Resources = Resources(requests={"cpu": "10m", "memory": "32Mi"}, limits={"memory": "512Mi"})
    volume_size: str = "10Gi"
    tmp_size: str = "2Gi"
    waiting_seconds: float = Field(300.0, gt=0)
    cluster_domain: str = "cluster.local"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    environment: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    priority_class_name: str = ""

    def resources_of(self, instance: str) -> Resources:
        return self.instances.get(instance, self.resources)


def read_settings(path: Path) -> PodSettings:
    """Raises `BadSettings`."""
    try:
        return PodSettings.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise BadSettings(f"can't use {path}, which says how pods are made: {error}") from error
