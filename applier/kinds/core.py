"""What every kind of resource has in common: calls by name over botocore's models, and what a kind states of itself.

A spec is held under the API's own names (`{"StreamName": ..., "ShardCount": ...}`); ACK's names are for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ServiceModel, Shape

from applier.fields import ack_name, api_names
from loopcast.aws import client
from loopcast.clock import Clock

Spec = Mapping[str, Any]
Answer = Mapping[str, Any]

_ACK_GROUPS = {"events": "eventbridge", "logs": "cloudwatchlogs"}
_ABSENT = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|not found|does not exist|^404:", re.IGNORECASE)


def call(service: str, operation: str, **parameters: Any) -> Answer:
    """The answer to one call; `operation` is the API's name, for example CreateStream."""
    answer: Answer = getattr(client(service), xform_name(operation))(**parameters)
    return answer


def call_if_there(service: str, operation: str, **parameters: Any) -> Answer | None:
    """As `call`; None when what it asks for isn't there."""
    try:
        return call(service, operation, **parameters)
    except ClientError as error:
        if _ABSENT.search(f"{error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}"):
            return None
        raise


def pages(service: str, operation: str, path: str, **parameters: Any) -> list[Any]:
    """What the JMESPath `path` finds in all pages of a listing."""
    paginator = client(service).get_paginator(xform_name(operation))
    return [item for item in paginator.paginate(**parameters).search(path) if item is not None]


def model(service: str) -> ServiceModel:
    """Botocore's model of the service."""
    found: ServiceModel = client(service).meta.service_model
    return found


@dataclass(frozen=True)
class Part:
    """A field of a kind's spec that the API writes and reads with calls of its own.

    `member` is the field's name in the call that writes it; `within` is the JMESPath to it in what `read` answers;
    `keys` says which parameters of both calls come from which fields of the spec.
    """

    field: str
    write: str
    member: str
    read: str
    within: str
    keys: Mapping[str, str]

    def shape(self, service: str) -> Shape:
        return model(service).operation_model(self.write).input_shape.members[self.member]

    def get(self, service: str, spec: Spec) -> Any:
        answer = call_if_there(service, self.read, **self.parameters(spec))
        return None if answer is None else jmespath.search(self.within, answer)

    def put(self, service: str, spec: Spec) -> None:
        call(service, self.write, **self.parameters(spec), **{self.member: spec[self.field]})

    def parameters(self, spec: Spec) -> dict[str, Any]:
        return {parameter: spec[name] for parameter, name in self.keys.items()}


@dataclass(frozen=True)
class Update:
    """A call that changes the fields `fields` (the API's names) of a resource that is there.

    `request` makes its parameters from the spec and from what the read answered.
    """

    operation: str
    fields: frozenset[str]
    request: Callable[[Spec, Answer], Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """A resource as it is: its fields under the API's names, the answer that they came from, and its status."""

    fields: Mapping[str, Any]
    answer: Answer
    status: str | None = None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of resource, stated by the operations of its API.

    The spec has the members `fields` of `create`'s input, those that the API reads back, and `parts`; `renames` says
    which ACK names otherwise than the API (ACK's name to the API's). `key` is the member that names a resource; `keys`
    are the parameters of read and delete that come from the spec, `with_read` and `with_delete` are others of these.
    `within` is the JMESPath to the resource in what `read` answers, `answers` that to a field which lies elsewhere in
    it. The resource is ready when the JMESPath `status` finds one of `ready`, and has failed at one of `failed`.
    """

    service: str
    name: str
    create: str
    read: str
    delete: str
    fields: tuple[str, ...]
    key: str
    keys: Mapping[str, str]
    within: str = "@"
    answers: Mapping[str, str] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    updates: tuple[Update, ...] = ()
    status: str = ""
    ready: frozenset[str] = frozenset({"ACTIVE"})
    failed: frozenset[str] = frozenset()
    arn: str = ""
    with_read: Mapping[str, Any] = field(default_factory=dict)
    with_delete: Mapping[str, Any] = field(default_factory=dict)
    retried: str = ""
    """A pattern of the errors of `create` that pass by themselves, for example a role that isn't known yet."""
    ours: bool = False
    """Whether the kind is our own, since ACK has none or one that lacks what we need."""

    @property
    def api_version(self) -> str:
        group = _ACK_GROUPS.get(self.service, self.service)
        return f"{group}.{'loopcast.io' if self.ours else 'services.k8s.aws'}/v1alpha1"

    def shapes(self) -> dict[str, Shape]:
        """The shape of each field of the spec, by the API's name."""
        members = self._input().members
        return {name: members[name] for name in self.fields} | {
            part.field: part.shape(self.service) for part in self.parts
        }

    def field_names(self) -> dict[str, str]:
        """The API's name of each field of the spec, by ACK's."""
        names = api_names(name for name in self.shapes() if name not in self.renames.values())
        return names | {ack: api for ack, api in self.renames.items() if api in self.shapes()}

    def ack_name(self, api_name: str) -> str:
        """ACK's name of a field of the spec."""
        return {api: ack for ack, api in self.renames.items()}.get(api_name) or ack_name(api_name)

    def required(self) -> list[str]:
        """The fields that the API can't do without, under its own names."""
        return [name for name in self._input().required_members if name in self.fields]

    def at_this_speed(self, spec: Spec, clock: Clock) -> Spec:
        """The spec with its durations, which are stated in event time, as they last on the wall."""
        return spec

    def find(self, spec: Spec) -> Found | None:
        """The resource as it is, or None."""
        answer = call_if_there(self.service, self.read, **self.parameters(self.read, spec), **self.with_read)
        inner = None if answer is None else jmespath.search(self.within, answer)
        if inner is None:
            return None
        fields = {**inner, self.key: spec[self.key]}
        fields |= {name: jmespath.search(path, inner) for name, path in self.answers.items()}
        fields |= {part.field: part.get(self.service, spec) for part in self.parts if part.field in spec}
        return Found(fields, inner, jmespath.search(self.status, inner) if self.status else None)

    def make(self, spec: Spec) -> None:
        """Creates the resource, without its parts: they can need that it is ready."""
        folded = {part.field for part in self.parts}
        self.call_create({name: value for name, value in spec.items() if name not in folded})

    def call_create(self, request: dict[str, Any]) -> None:
        call(self.service, self.create, **request)

    def complete(self, spec: Spec, fields: frozenset[str]) -> None:
        """Writes those parts of the resource whose field is in `fields`."""
        for part in self.parts:
            if part.field in fields:
                part.put(self.service, spec)

    def update_of(self, name: str) -> Update | None:
        """The call that changes the field, under the API's name; None when none can, or when it is a part."""
        return next((update for update in self.updates if name in update.fields), None)

    def can_change(self, name: str, spec: Spec, found: Found) -> bool:
        """Whether there is a call that brings the field, under the API's name, to what the spec states."""
        return self.update_of(name) is not None or any(part.field == name for part in self.parts)

    def change(self, spec: Spec, found: Found, fields: frozenset[str]) -> None:
        """Brings the fields `fields` of the resource to what the spec states; each of them can be changed."""
        for update in self.updates:
            if update.fields & fields:
                call(self.service, update.operation, **update.request(spec, found.answer))
        self.complete(spec, fields)

    def remove(self, spec: Spec) -> None:
        """Deletes the resource; nothing happens when it isn't there."""
        call_if_there(self.service, self.delete, **self.parameters(self.delete, spec), **self.with_delete)

    def is_gone(self, spec: Spec) -> bool:
        """Whether nothing is left to wait for after `remove`."""
        return self.find(spec) is None

    def empty(self, spec: Spec) -> str:
        """Removes what the resource holds and says how much; "" when it holds nothing or goes with it by itself."""
        return ""

    def arn_of(self, name: str, account: str, region: str) -> str:
        return self.arn.format(name=name, account=account, region=region)

    def _input(self) -> Shape:
        return model(self.service).operation_model(self.create).input_shape

    def parameters(self, operation: str, spec: Spec) -> dict[str, Any]:
        """The keys as `operation` takes them; one that works on several at once takes a list under the plural."""
        known = model(self.service).operation_model(operation).input_shape.members
        return {
            parameter if parameter in known else f"{parameter}s": spec[name] if parameter in known else [spec[name]]
            for parameter, name in self.keys.items()
        }


def request_of(*names: str, **renamed: str) -> Callable[[Spec, Answer], Mapping[str, Any]]:
    """A request with the fields `names` of the spec, and `renamed` ones: `StreamName="Name"`."""

    def request(spec: Spec, _: Answer) -> Mapping[str, Any]:
        wanted = {name: name for name in names} | renamed
        return {parameter: spec[name] for parameter, name in wanted.items() if name in spec}

    return request
