"""Holds an object against a definition's schema: what the API server would refuse, and what it would drop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ARGO_CD = ("github.com/argoproj/argo-cd/v3", "v3.3.0")
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
_METADATA = {"apiVersion", "kind", "metadata"}


def argo_files(folder: Path) -> list[Path]:
    """Argo CD's definitions, from its Go module, fetched from within `folder`. Raises `CalledProcessError`."""
    command = ["go", "mod", "download", "-json", "@".join(ARGO_CD)]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=240)
    crds = Path(json.loads(found.stdout)["Dir"]) / "manifests" / "crds"
    return [crds / f"{name}-crd.yaml" for name in ("application", "appproject")]


def argo_definitions(folder: Path) -> dict[str, Any]:
    """The schemas of Argo CD's kinds."""
    return dict(_schema(path) for path in argo_files(folder))


def _schema(path: Path) -> tuple[str, Any]:
    spec = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["spec"]
    return spec["names"]["kind"], spec["versions"][0]["schema"]["openAPIV3Schema"]


def problems(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """A sentence for each place where the value is not what the schema says."""
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield f"{path}: neither a number nor a text"
        return
    wanted = _TYPES.get(schema.get("type", ""), object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and schema.get("type") in ("integer", "number")):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from _members(schema, value, path)
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from problems(schema.get("items", {}), item, f"{path}[{at}]")


def _members(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    free = schema.get("x-kubernetes-preserve-unknown-fields") or not (known or others)
    for name in set(schema.get("required", [])) - value.keys():
        yield f"{path}: {name} is missing"
    for name, item in value.items():
        if name in known and not (path == "" and name in _METADATA):
            yield from problems(known[name], item, f"{path}.{name}")
        elif isinstance(others, Mapping):
            yield from problems(others, item, f"{path}.{name}")
        elif not free and name not in known:
            yield f"{path}.{name}: unknown"
