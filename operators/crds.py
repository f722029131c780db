"""The custom resource definitions, made from the models: written as a file, put into a cluster and taken out again."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from operators.durations import format_duration
from operators.policies import GROUP, KINDS, VERSION, Kind

OUTPUT = Path("manifests/operator/crds.yaml")
_HEAD = "# Made by `python -m operators.crds write` from the models in operators/: change those.\n"
_DROPPED = {"title", "$defs", "additionalProperties", "exclusiveMinimum", "exclusiveMaximum"}
_WIDE = (
    ("Run", "string", ".status.lastRun.id"),
    ("Run said", "string", ".status.lastRun.message"),
    ("Message", "string", ".status.message"),
)
"""The columns of `kubectl get -o wide`."""
_CONDITION = {
    "type": "object",
    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string"},
        "message": {"type": "string"},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    },
}


class _Schema(GenerateJsonSchema):
    """Defaults as they are written in YAML: a part's own defaults are given where that part is described."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return {} if isinstance(dft, BaseModel) else super().encode_default(dft)


def crd(kind: Kind) -> dict[str, Any]:
    """The definition of one kind."""
    status = schema(kind.status)
    status["properties"] |= {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": {
            "type": "array",
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    }
    columns = [("State", "string", ".status.state"), *kind.columns, ("Age", "date", ".metadata.creationTimestamp")]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": kind.about,
                "required": ["spec"],
                "properties": {"spec": schema(kind.spec), "status": status},
            }
        },
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            *({"name": name, "type": of, "jsonPath": path} for name, of, path in columns),
            *({"name": name, "type": of, "jsonPath": path, "priority": 1} for name, of, path in _WIDE),
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["loopcast"],
            },
            "versions": [version],
        },
    }


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's structural schema, as Kubernetes wants it: nothing referred to, no nulls."""
    made = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Schema)
    return _structural(made, made.get("$defs", {}))


def _structural(node: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = known[node["$ref"].rpartition("/")[2]]
        return _structural({**target, **{key: value for key, value in node.items() if key != "$ref"}}, known)
    if "anyOf" in node:
        (kept,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        own = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
        default = {} if node.get("default") is None else {"default": node["default"]}
        return _structural({**kept, **own, **default}, known)
    found = {key: value for key, value in node.items() if key not in _DROPPED}
    if "properties" in node:
        found["properties"] = {name: _structural(part, known) for name, part in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _structural(node["additionalProperties"], known)
        found.setdefault("default", {})
    if "items" in node:
        found["items"] = _structural(node["items"], known)
    return found | _bounds(node)


def _bounds(node: Mapping[str, Any]) -> dict[str, Any]:
    """Exclusive bounds as OpenAPI 3.0 writes them."""
    found: dict[str, Any] = {}
    for side in ("Minimum", "Maximum"):
        if (value := node.get(f"exclusive{side}")) is not None:
            found |= {side.lower(): value, f"exclusive{side}": True}
    return found


def text() -> str:
    """What manifests/operator/crds.yaml holds."""
    return _HEAD + yaml.safe_dump_all([crd(kind) for kind in KINDS.values()], sort_keys=False, width=120)


def write(settings: argparse.Namespace) -> str:
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    settings.output.write_text(text(), encoding="utf-8")
    return str(settings.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m operators.crds", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    written = commands.add_parser("write", help="write them to a file", description="Writes them to a file.")
    written.add_argument("--output", type=Path, default=OUTPUT, help="file (default: %(default)s)")
    about = "put them into the cluster, or bring them up to date, and wait until they are served"
    commands.add_parser("apply", help=about, description=f"{about.capitalize()}.")
    about = "take them out of the cluster, and the policies of a namespace, unless another namespace has some"
    deleted = commands.add_parser("delete", help=about, description=f"{about.capitalize()}.")
    deleted.add_argument("--namespace", default="default", help="whose policies go as well (default: %(default)s)")
    return parser


def main() -> None:
    settings = _parser().parse_args()
    if settings.command == "write":
        print(write(settings))
        return
    from operators import installation  # the API's client is not needed to write a file

    print(installation.apply() if settings.command == "apply" else installation.delete(settings.namespace))


if __name__ == "__main__":
    main()
