"""Objects against the Kubernetes API's schemas, and our own kinds against their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.charts.rendering import KUBERNETES, ROOT, Object

VERSION = KUBERNETES.rpartition(".")[0]
FOREIGN = (
    "monitoring.coreos.com",
    "keda.sh",
    "flink.apache.org",
    "argoproj.io",
    "pipelines.kubeflow.org",
)
"""API groups of other projects, whose definitions are not part of Kubernetes'."""


def faults(objects: Iterable[Object]) -> Iterator[str]:
    """What the API server would refuse, a sentence each; unknown fields are among it."""
    for item in objects:
        group = item["apiVersion"].rpartition("/")[0]
        name = f"{item['kind']} {item['metadata']['name']}"
        if group == "loopcast.io":
            yield from (f"{name}: {why}" for why in _own_faults(item))
        elif not group.startswith(FOREIGN) and not group.endswith(("services.k8s.aws", ".loopcast.io")):
            yield from (f"{name}: {why}" for why in _kubernetes_faults(item))


def _kubernetes_faults(item: Object) -> Iterator[str]:
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(str(step) for step in error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"Kubernetes {VERSION} has no {item['apiVersion']}"


def _own_faults(item: Object) -> Iterator[str]:
    schema = _own_schemas().get(item["kind"])
    if schema is None:
        yield "there is no such kind"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors({"spec": item["spec"]}):
        yield f"{'.'.join(str(step) for step in error.path)}: {error.message}"


@cache
def _own_schemas() -> dict[str, Any]:
    """Our definitions by kind, with unknown fields refused, which the API server would drop in silence."""
    documents = yaml.safe_load_all((ROOT / "manifests/operator/crds.yaml").read_text())
    return {
        item["spec"]["names"]["kind"]: _strict(item["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for item in documents
    }


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(part) for key, part in schema.items() if key != "exclusiveMinimum"}
    if "properties" in schema and isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made
