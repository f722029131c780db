"""Objects against the Kubernetes API's schemas, our own kinds and other projects' against their definitions."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.charts.rendering import KUBERNETES, ROOT, Object

VERSION = KUBERNETES.rpartition(".")[0]
MODULES = {
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator@v0.79.2",
        "example/prometheus-operator-crd",
    ),
    "keda.sh": ("github.com/kedacore/keda/v2@v2.16.1", "config/crd/bases"),
}
"""Where the definitions of other projects' API groups are: a Go module, and the folder in it."""
_ELSEWHERE = ("flink.apache.org", "services.k8s.aws", ".loopcast.io")
"""API groups that the tests of their own rooms look after."""


def faults(objects: Iterable[Object]) -> Iterator[str]:
    """What the API server would refuse, a sentence each; unknown fields are among it."""
    for item in objects:
        group = item["apiVersion"].rpartition("/")[0]
        if group == "loopcast.io":
            yield from _named(item, _faults_of(item, _own_definitions()))
        elif group not in MODULES and not group.endswith(_ELSEWHERE):
            yield from _named(item, _kubernetes_faults(item))


def foreign_faults(objects: Iterable[Object]) -> Iterator[str]:
    """As `faults`, of the kinds of other projects. Needs Go."""
    for item in objects:
        group = item["apiVersion"].rpartition("/")[0]
        if group in MODULES:
            yield from _named(item, _faults_of(item, _foreign_definition(group, item["kind"])))


def _named(item: Object, sentences: Iterable[str]) -> Iterator[str]:
    return (f"{item['kind']} {item['metadata']['name']}: {sentence}" for sentence in sentences)


def _kubernetes_faults(item: Object) -> Iterator[str]:
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(str(step) for step in error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"Kubernetes {VERSION} has no {item['apiVersion']}"


def _faults_of(item: Object, definitions: Mapping[str, Any]) -> Iterator[str]:
    schema = definitions.get(item["kind"])
    if schema is None:
        yield "there is no such kind"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors({"spec": item["spec"]}):
        yield f"{'.'.join(str(step) for step in error.path)}: {error.message}"


@cache
def _own_definitions() -> dict[str, Any]:
    return _definitions([ROOT / "manifests" / "operator" / "crds.yaml"])


@cache
def _foreign_definition(group: str, kind: str) -> dict[str, Any]:
    path = _folder(group) / f"{group}_{kind.lower()}s.yaml"
    return _definitions([path]) if path.exists() else {}


@cache
def _folder(group: str) -> Path:
    """Where the definitions of the group lie, once its module is here."""
    module, folder = MODULES[group]
    command = ["go", "mod", "download", "-json", module]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, cwd=tempfile.gettempdir())
    return Path(json.loads(found.stdout)["Dir"]) / folder


def _definitions(paths: Iterable[Path]) -> dict[str, Any]:
    """The schemas by kind, with unknown fields refused, which the API server would drop in silence."""
    documents = [item for path in paths for item in yaml.load_all(path.read_text(), _Loader) if item]
    return {
        item["spec"]["names"]["kind"]: _strict(item["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for item in documents
    }


class _Loader(yaml.CSafeLoader):
    """As always, but `=` is a text, as in YAML 1.2."""


_Loader.add_constructor("tag:yaml.org,2002:value", yaml.constructor.SafeConstructor.construct_yaml_str)


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(part) for key, part in schema.items() if key != "exclusiveMinimum"}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    return made
