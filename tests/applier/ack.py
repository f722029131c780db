"""The definitions of ACK's resources at the releases that manifests/aws is written for.

They lie in the controllers' Go modules, which `go` downloads. Where it can't, LOOPCAST_ACK names a folder with the
controllers at these releases, `<service>-controller/config/crd/bases`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

RELEASES = {
    "athena": "v1.5.1",
    "cloudwatch": "v1.8.1",
    "dynamodb": "v1.9.2",
    "ecr": "v1.8.1",
    "eventbridge": "v1.5.1",
    "iam": "v1.8.1",
    "kinesis": "v1.3.2",
    "s3": "v1.10.0",
    "sagemaker": "v1.9.1",
    "sns": "v1.6.0",
    "sqs": "v1.6.1",
    "ssm": "v1.3.0",
}
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
_MODULE = "github.com/aws-controllers-k8s/{}-controller@{}"


class Unavailable(Exception):
    """The definitions can't be had here; the message says why."""


def definitions(folder: Path) -> dict[tuple[str, str], Any]:
    """The schema of each kind's spec, by API version and kind. `go` works in `folder`. Raises `Unavailable`."""
    found = {}
    for service, release in RELEASES.items():
        bases = _checkout(service, release, folder) / "config" / "crd" / "bases"
        for file in sorted(bases.glob("*.yaml")):
            found.update(_kinds(yaml.safe_load(file.read_text())))
    return found


def _kinds(definition: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema


def _checkout(service: str, release: str, folder: Path) -> Path:
    given = os.environ.get("LOOPCAST_ACK")
    if given:
        return Path(given) / f"{service}-controller"
    if shutil.which("go") is None:
        raise Unavailable("go is absent: ACK's definitions were not downloaded")
    module = _MODULE.format(service, release)
    command = ["go", "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    answer = json.loads(done.stdout) if done.stdout.startswith("{") else {"Error": done.stderr.strip()}
    if "Error" in answer:
        raise Unavailable(f"{module} can't be downloaded: {answer['Error'].strip().splitlines()[-1].strip()}")
    return Path(answer["Dir"])


def faults(value: Any, schema: Any, path: str) -> Iterator[str]:
    """What an API server would refuse of `value` or drop in silence, a sentence each."""
    kind = schema.get("type")
    if not isinstance(value, _TYPES.get(kind, object)) or (isinstance(value, bool) and kind in ("integer", "number")):
        yield f"{path} must be of the type {kind}, and is {value!r}"
    elif isinstance(value, dict):
        yield from _object_faults(value, schema, path)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from faults(item, schema["items"], f"{path}[{number}]")


def _object_faults(value: Any, schema: Any, path: str) -> Iterator[str]:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if known is None:
            yield f"{path}.{name} is no field"
        else:
            yield from faults(item, known, f"{path}.{name}")
