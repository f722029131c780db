"""Resources: documents checked against botocore's model of the call that makes them, with references resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from yaml.constructor import ConstructorError, SafeConstructor

from applier import manifest
from applier.fields import api_names
from applier.kinds import KINDS, kind_named
from applier.kinds.core import Kind
from applier.manifest import Document, ManifestError, did_you_mean, entries, line_of
from loopcast.clock import clock_from_environment

_REFERENCES = {
    "eventBus": "EventBus",
    "role": "Role",
    "bucket": "Bucket",
    "database": "Database",
    "kinesisStream": "Stream",
    "topic": "Topic",
}
"""The kind that a reference points to, by the field's name without `Ref`, as in ACK."""

_ENDINGS = {"": "name", "Name": "name", "ARN": "arn"}
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
    "boolean": (bool,),
}
_CALLED = {
    "string": "text: put it in quotes",
    "boolean": "true or false",
    "integer": "a whole number",
    "long": "a whole number",
}

Identity = tuple[str, str]
"""The kind and the metadata.name of a resource."""


@dataclass(frozen=True)
class Place:
    """Where resources are: the account's id and the region."""

    account: str
    region: str


@dataclass(frozen=True)
class Resource:
    """A declared resource; `spec` is under the API's own names, `lines` says where each of its fields stands.

    One that is `left_by_ack` is the applier's where ACK applies the others; one that is `shared` is no feed's own.
    """

    kind: Kind
    identity: Identity
    spec: Mapping[str, Any]
    after: frozenset[Identity]
    where: str
    lines: Mapping[str, str]
    retained: bool = False
    create_only: bool = False
    left_by_ack: bool = False
    shared: bool = False

    @property
    def name(self) -> str:
        return str(self.spec[self.kind.key])

    def __str__(self) -> str:
        return f"{self.kind.name} {self.name}"


def resources_of(documents: Iterable[Document], place: Place) -> list[Resource]:
    """The documents' resources, each after those it refers to. Raises `ManifestError` with every mistake found."""
    by_identity: dict[Identity, Document] = {}
    mistakes: list[str] = []
    for document in documents:
        if not _kind_of(document):
            mistakes.append(_unknown_kind(document))
        elif (document.kind, document.name) in by_identity:
            mistakes.append(f"{document.where}: there are two resources {document.kind} {document.name}")
        else:
            by_identity[document.kind, document.name] = document
    found = []
    for document in by_identity.values():
        try:
            found.append(_Reader(document, place, by_identity).resource())
        except ManifestError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ManifestError("\n".join(mistakes))
    return in_order(found)


def left_by_ack(resources: Iterable[Resource]) -> list[Resource]:
    """Those of the resources that ACK leaves, waiting for each other only: what else they need is ACK's."""
    left = {resource.identity: resource for resource in resources if resource.left_by_ack}
    return [replace(resource, after=resource.after & left.keys()) for resource in left.values()]


def in_order(resources: Iterable[Resource]) -> list[Resource]:
    """The resources, each after those it depends on. Raises `ManifestError` when they depend on each other."""
    by_identity = {resource.identity: resource for resource in resources}
    try:
        order = list(sorter(by_identity.values()).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{kind} {name}" for kind, name in error.args[1])
        raise ManifestError(f"{by_identity[error.args[1][0]].where}: these wait for each other: {circle}") from error
    return [by_identity[identity] for identity in order]


def sorter(resources: Iterable[Resource]) -> TopologicalSorter[Identity]:
    return TopologicalSorter({resource.identity: resource.after for resource in resources})


def _kind_of(document: Document) -> Kind | None:
    matching = (kind for kind in KINDS if (kind.api_version, kind.name) == (document.api_version, document.kind))
    return next(matching, None)


def _unknown_kind(document: Document) -> str:
    known = [f"{kind.api_version} {kind.name}" for kind in KINDS]
    hint = did_you_mean(f"{document.api_version} {document.kind}", dict.fromkeys(known))
    return f"{document.where}: unknown kind {document.api_version} {document.kind}{hint}"


@dataclass
class _Reader:
    """Turns one document's spec into a resource; `others` is what references can point to."""

    document: Document
    place: Place
    others: Mapping[Identity, Document]
    after: set[Identity] = field(default_factory=set)
    lines: dict[str, str] = field(default_factory=dict)

    def resource(self) -> Resource:
        document, kind = self.document, kind_named(self.document.kind)
        spec = self._structure(document.spec, kind.shapes(), kind.field_names(), "")
        for name in kind.required():
            if name not in spec:
                raise ManifestError(f"{document.where}: {document.kind} needs spec.{kind.ack_name(name)}")
        self.after |= self._stated_order()
        return Resource(
            kind=kind,
            identity=(document.kind, document.name),
            spec=kind.at_this_speed(spec, clock_from_environment()),
            after=frozenset(self.after),
            where=document.where,
            lines=self.lines,
            retained=document.annotations.get(manifest.RETAIN) == "retain",
            create_only=document.annotations.get(manifest.CREATE_ONLY) == "true",
            left_by_ack=document.annotations.get(manifest.APPLIED_BY) == "applier",
            shared=document.annotations.get(manifest.SHARED) == "true",
        )

    def _stated_order(self) -> set[Identity]:
        text = self.document.annotations.get(manifest.AFTER, "")
        return {self._known(self.document.where, *item.split()) for item in text.split(",") if item.strip()}

    def _known(self, where: str, kind: str, name: str = "") -> Identity:
        if (kind, name) not in self.others:
            raise ManifestError(f"{where}: no manifest declares {kind} {name}, which {self.document.name} refers to")
        return kind, name

    def _value(self, node: yaml.Node, shape: Shape, path: str) -> Any:
        if isinstance(shape, StructureShape):
            return self._structure(node, shape.members, api_names(shape.members), path, shape.required_members)
        if isinstance(shape, ListShape):
            return self._list(node, shape, path)
        if isinstance(shape, MapShape):
            values = entries(self.document.file, node, path)
            return {key: self._value(value, shape.value, f"{path}.{key}") for key, value in values.items()}
        return self._scalar(node, shape, path)

    def _structure(
        self,
        node: yaml.Node,
        shapes: Mapping[str, Shape],
        names: Mapping[str, str],
        path: str,
        required: Iterable[str] = (),
    ) -> dict[str, Any]:
        found = {}
        for key, value in entries(self.document.file, node, path or "spec").items():
            inner = f"{path}.{key}" if path else key
            self.lines[inner] = f"{self.document.file}:{line_of(node, key)}"
            if key in names:
                found[names[key]] = self._value(value, shapes[names[key]], inner)
            elif key.endswith("Ref"):
                target, referred = self._reference(value, key, names, inner)
                found[names[target]] = referred
            else:
                raise ManifestError(f"{self.lines[inner]}: spec.{inner}: unknown field{did_you_mean(key, names)}")
        for name in required:
            if name not in found:
                ack = next(ack for ack, api in names.items() if api == name)
                raise ManifestError(f"{self._at(node)}: spec.{path} needs {ack}")
        return found

    def _reference(self, node: yaml.Node, key: str, names: Mapping[str, str], path: str) -> tuple[str, str]:
        """The field that `{from: {name: ...}}` stands for, and its value."""
        base = key.removesuffix("Ref")
        ending = next((ending for ending in _ENDINGS if base + ending in names), None)
        if ending is None or base not in _REFERENCES:
            raise ManifestError(f"{self.lines[path]}: spec.{path}: unknown field{did_you_mean(key, names)}")
        source = entries(self.document.file, node, path).get("from")
        name = source and entries(self.document.file, source, f"{path}.from").get("name")
        if not isinstance(name, yaml.ScalarNode):
            raise ManifestError(f"{self._at(node)}: spec.{path}: a reference is {{from: {{name: ...}}}}")
        identity = self._known(self._at(name), _REFERENCES[base], name.value)
        self.after.add(identity)
        self.lines[path.removesuffix("Ref") + ending] = self.lines[path]
        return base + ending, self._referred(identity, _ENDINGS[ending])

    def _referred(self, identity: Identity, attribute: str) -> str:
        kind, target = kind_named(identity[0]), self.others[identity]
        node = entries(target.file, target.spec, "spec").get(kind.ack_name(kind.key))
        if not isinstance(node, yaml.ScalarNode):
            raise ManifestError(f"{target.where}: {target.kind} needs spec.{kind.ack_name(kind.key)}")
        if attribute == "name":
            return str(node.value)
        return kind.arn_of(node.value, self.place.account, self.place.region)

    def _list(self, node: yaml.Node, shape: ListShape, path: str) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise ManifestError(f"{self._at(node)}: spec.{path} must be a list")
        return [self._value(item, shape.member, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _scalar(self, node: yaml.Node, shape: Shape, path: str) -> Any:
        value = _constructed(node) if isinstance(node, yaml.ScalarNode) else None
        wanted = _SCALARS.get(shape.type_name)
        if wanted is None:
            raise ManifestError(f"{self._at(node)}: spec.{path}: the applier can't write a {shape.type_name}")
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            called = _CALLED.get(shape.type_name, "a number")
            raise ManifestError(f"{self._at(node)}: spec.{path} must be {called}")
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            allowed = ", ".join(shape.enum)
            raise ManifestError(f"{self._at(node)}: spec.{path}: {value} is not one of {allowed}")
        return value

    def _at(self, node: yaml.Node) -> str:
        return f"{self.document.file}:{node.start_mark.line + 1}"


_construct: Callable[[yaml.Node], Any] = SafeConstructor().construct_object


def _constructed(node: yaml.ScalarNode) -> Any:
    try:
        return _construct(node)
    except ConstructorError:
        return None
