"""Reads manifests: YAML documents in the shape of ACK's resources, with placeholders, and the line of each part."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml

from loopcast.feed import Feed
from loopcast.minute import feature_definitions
from loopcast.names import Names

RETAIN = "services.k8s.aws/deletion-policy"
ADOPT = "services.k8s.aws/adoption-policy"
CREATE_ONLY = "loopcast.io/create-only"
APPLIED_BY = "loopcast.io/applied-by"
SHARED = "loopcast.io/shared"
AFTER = "loopcast.io/after"
_ANNOTATIONS = {
    RETAIN: ("retain", "delete"),
    ADOPT: ("adopt-or-create",),  # what the applier does anyway: ACK has to be told
    CREATE_ONLY: ("true", "false"),
    APPLIED_BY: ("applier",),
    SHARED: ("true", "false"),
    AFTER: None,
}
_PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class ManifestError(ValueError):
    """Manifests that can't be used: a sentence for each mistake, with file and line."""


@dataclass(frozen=True)
class Document:
    """One resource as it is written; `spec` keeps the lines of its parts."""

    file: str
    line: int
    api_version: str
    kind: str
    name: str
    annotations: Mapping[str, str]
    spec: yaml.MappingNode

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Cluster:
    """Whose service accounts the roles trust: those of a release in a namespace of the cluster with this OIDC provider
    (without https://; '' for none). `pipelines_account` is that of the pipelines' pods, `namespace/name`; '' for the
    release's own."""

    oidc_provider: str = ""
    namespace: str = "loopcast"
    release: str = "loopcast"
    pipelines_account: str = ""


def placeholders(feed: Feed, account: str, region: str, cluster: Cluster | None = None) -> dict[str, str]:
    """What stands for each `${...}` in the manifests."""
    cluster = cluster or Cluster()
    namespace, _, service_account = cluster.pipelines_account.rpartition("/")
    definitions = [
        {"featureName": item["FeatureName"], "featureType": item["FeatureType"]} for item in feature_definitions(feed)
    ]
    return {
        "FEED": feed.name,
        "FEED_SNAKE": feed.name.replace("-", "_"),
        "TUNING_PREFIX": Names(feed.name, account).tuning_prefix,
        "ACCOUNT": account,
        "REGION": region,
        "SHARDS": str(feed.stream.shards),
        "FEATURE_DEFINITIONS": json.dumps(definitions),
        # A provider of this name can be nobody's: without one only EKS Pod Identity is trusted.
        "OIDC_PROVIDER": cluster.oidc_provider or f"oidc.eks.{region}.amazonaws.com/id/NONE",
        "NAMESPACE": cluster.namespace,
        "RELEASE": cluster.release,
        "PIPELINES_NAMESPACE": namespace or cluster.namespace,
        "PIPELINES_ACCOUNT": service_account or f"{cluster.release}-pipelines",
    }


def read_manifests(path: Path, values: Mapping[str, str]) -> list[Document]:
    """The documents in the file `path`, or in each *.yaml file of that folder. Raises `ManifestError`."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise ManifestError(f"{path}: there is no *.yaml file: name the folder or the file with the manifests")
    return [document for file in files for document in _read_file(file, values)]


def _read_file(file: Path, values: Mapping[str, str]) -> list[Document]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: can't be read: {error}") from error
    try:
        nodes = list(yaml.compose_all(_filled(file, text, values), Loader=yaml.CSafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ManifestError(f"{file}:{line}: not YAML: {getattr(error, 'problem', error)}") from error
    return [_document(str(file), node) for node in nodes if not _is_empty(node)]


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.value


def _filled(file: Path, text: str, values: Mapping[str, str]) -> str:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        for name in _PLACEHOLDER.findall(line):
            if name not in values:
                known = ", ".join(f"${{{name}}}" for name in values)
                raise ManifestError(f"{file}:{number}: ${{{name}}} is not a placeholder: there are {known}")
        lines[number - 1] = _PLACEHOLDER.sub(lambda match: values[match[1]], line)
    return "\n".join(lines)


def _document(file: str, node: yaml.Node) -> Document:
    top = entries(file, node, "a resource")
    line = node.start_mark.line + 1
    for key in ("apiVersion", "kind", "metadata", "spec"):
        if key not in top:
            raise ManifestError(f"{file}:{line}: a resource needs {key}")
    _refuse_unknown(file, node, {"apiVersion", "kind", "metadata", "spec"})
    metadata = entries(file, top["metadata"], "metadata")
    _refuse_unknown(file, top["metadata"], {"name", "annotations", "labels", "namespace"})
    if "name" not in metadata:
        raise ManifestError(f"{file}:{line}: a resource needs metadata.name")
    if not isinstance(top["spec"], yaml.MappingNode):
        raise ManifestError(f"{file}:{line}: spec must be a mapping")
    return Document(
        file=file,
        line=line,
        api_version=_text(file, top["apiVersion"]),
        kind=_text(file, top["kind"]),
        name=_text(file, metadata["name"]),
        annotations=_annotations(file, metadata.get("annotations")),
        spec=top["spec"],
    )


def _annotations(file: str, node: yaml.Node | None) -> dict[str, str]:
    if node is None:
        return {}
    nodes = entries(file, node, "annotations")
    for key, value in nodes.items():
        allowed = _ANNOTATIONS.get(key)
        where = f"{file}:{value.start_mark.line + 1}"
        if key.startswith("loopcast.io/") and key not in _ANNOTATIONS:
            raise ManifestError(f"{where}: {key}: unknown annotation{did_you_mean(key, _ANNOTATIONS)}")
        if allowed and _text(file, value) not in allowed:
            raise ManifestError(f"{where}: {key} must be {' or '.join(allowed)}, in quotes")
    return {key: _text(file, value) for key, value in nodes.items()}


def entries(file: str, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
    """The values of a mapping by key. Raises `ManifestError` when it isn't one, or a key stands twice."""
    if not isinstance(node, yaml.MappingNode):
        raise ManifestError(f"{file}:{node.start_mark.line + 1}: {what} must be a mapping")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.value in found:
            raise ManifestError(f"{file}:{key.start_mark.line + 1}: {key.value}: the key stands twice")
        found[key.value] = value
    return found


def line_of(node: yaml.Node, key: str) -> int:
    """The line on which the key of a mapping stands."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((found.start_mark.line + 1 for found, _ in pairs if found.value == key), node.start_mark.line + 1)


def did_you_mean(name: str, known: Mapping[str, object]) -> str:
    """`; did you mean roleARN?`, or nothing."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _refuse_unknown(file: str, node: yaml.Node, known: set[str]) -> None:
    for key in entries(file, node, "this"):
        if key not in known:
            hint = did_you_mean(key, dict.fromkeys(known))
            raise ManifestError(f"{file}:{line_of(node, key)}: {key}: unknown field{hint}")


def _text(file: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise ManifestError(f"{file}:{node.start_mark.line + 1}: this must be text: put it in quotes")
    return str(node.value)
