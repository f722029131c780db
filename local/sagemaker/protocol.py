"""AWS's protocols json and rest-json, read from botocore's service models: which operation a request is for, its
parameters checked against the model, and how its answer looks on the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.validate import ParamValidator

from local.sagemaker.errors import ServiceError, UnknownOperation, ValidationException
from local.sagemaker.validation import validate

SERVICES = ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime")

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """An HTTP request; header names in lower case, `path` still quoted, `query` in order."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """An operation of a service, by botocore's names; `model` is botocore's OperationModel."""

    service: str
    name: str
    model: Any
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Route:
    method: str
    path: re.Pattern[str]
    operation: Operation


@cache
def model(service: str) -> Any:
    """botocore's ServiceModel of `service`."""
    return botocore.session.get_session().get_service_model(service)


def find_operation(request: Request) -> Operation:
    """The operation that a request is for. Raises `UnknownOperation`."""
    target = request.headers.get("x-amz-target")
    if target is not None:
        return _by_target(target)
    for route in _routes():
        match = route.path.fullmatch(request.path)
        if match and route.method == request.method:
            labels = {name: unquote(value) for name, value in match.groupdict().items()}
            return Operation(route.operation.service, route.operation.name, route.operation.model, labels)
    raise UnknownOperation(f"no operation of {', '.join(SERVICES)} is {request.method} {request.path}")


def parse(operation: Operation, request: Request) -> Json:
    """The request's parameters. Raises `ValidationException`."""
    shape = operation.model.input_shape
    if shape is None:
        return {}
    if operation.model.service_model.protocol == "json":
        parameters = _json(request.body)
    else:
        parameters = _rest_parameters(operation, request)
    try:
        validate(shape, parameters)
    except ValidationException as error:
        raise ValidationException(str(error), code=_validation_code(operation)) from None
    return parameters


def _validation_code(operation: Operation) -> str:
    """The runtimes name the same error otherwise."""
    names = {shape.name for shape in operation.model.error_shapes}
    return "ValidationError" if "ValidationError" in names else ValidationException.code


def answer(operation: Operation, fields: Json) -> Answer:
    """The answer to a request. Raises `ServiceError` when `fields` don't fit the service model."""
    shape = operation.model.output_shape
    content_type = {"content-type": "application/x-amz-json-1.1"}
    if shape is None:
        return Answer(200, b"", content_type)
    report = ParamValidator().validate(fields, shape)
    if report.has_errors():
        raise ServiceError(f"the answer of {operation.name} breaks its service model: {report.generate_report()}")
    if operation.model.service_model.protocol == "json":
        return Answer(200, json.dumps(fields).encode(), content_type)
    return _rest_answer(operation, fields)


def error_answer(error: ServiceError) -> Answer:
    """The answer of a request that failed; both protocols read it."""
    body = {"__type": error.code, "message": str(error), "Message": str(error), **error.fields}
    headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": error.code}
    return Answer(error.status, json.dumps(body).encode(), headers)


def _by_target(target: str) -> Operation:
    prefix, _, name = target.partition(".")
    for service in SERVICES:
        found = model(service)
        if found.metadata.get("targetPrefix") == prefix and name in found.operation_names:
            return Operation(service, name, found.operation_model(name))
    raise UnknownOperation(f"{target} is not an operation of {', '.join(SERVICES)}")


@cache
def _routes() -> tuple[_Route, ...]:
    """The operations of the services that are addressed by method and path."""
    rest = [service for service in SERVICES if model(service).protocol == "rest-json"]
    return tuple(
        _Route(operation.http["method"], _pattern(operation.http["requestUri"]), Operation(service, name, operation))
        for service in rest
        for name in model(service).operation_names
        for operation in [model(service).operation_model(name)]
    )


def _pattern(uri: str) -> re.Pattern[str]:
    """`/endpoints/{EndpointName}/invocations` as an expression with a named group for each label."""
    parts = re.split(r"\{(\w+)\}", uri.partition("?")[0])
    return re.compile("".join(f"(?P<{part}>[^/]+)" if odd % 2 else re.escape(part) for odd, part in enumerate(parts)))


def _json(body: bytes) -> Json:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        raise ValidationException("the request's body is not JSON", code="SerializationException") from None
    if not isinstance(document, dict):
        raise ValidationException("the request's body is not a JSON object", code="SerializationException")
    return document


def _rest_parameters(operation: Operation, request: Request) -> Json:
    shape = operation.model.input_shape
    payload = shape.serialization.get("payload")
    if payload is None:
        parameters = _json(request.body)
    elif shape.members[payload].type_name == "blob":
        parameters = {payload: request.body}
    else:
        parameters = {payload: _json(request.body)}
    for name, member in shape.members.items():
        values = _outside_body(name, member, operation.labels, request)
        if values:
            parameters[name] = values if member.type_name == "list" else _typed(member, values[0])
    return parameters


def _outside_body(name: str, shape: Any, labels: Mapping[str, str], request: Request) -> list[str]:
    """The texts that a member has in the path, the query or a header."""
    location, wire = shape.serialization.get("location"), shape.serialization.get("name", name)
    if location == "uri":
        return [labels[wire]] if wire in labels else []
    if location == "querystring":
        return [value for key, value in request.query if key == wire]
    if location == "header":
        return [request.headers[wire.lower()]] if wire.lower() in request.headers else []
    return []


def _typed(shape: Any, text: str) -> Any:
    """A text from outside the body as its shape's type; left as it is where it can't be: validation says so."""
    if shape.type_name in ("integer", "long") and text.lstrip("-").isdigit():
        return int(text)
    if shape.type_name == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _rest_answer(operation: Operation, fields: Json) -> Answer:
    shape = operation.model.output_shape
    headers = {"content-type": "application/json"}
    body = dict(fields)
    for name, member in shape.members.items():
        if member.serialization.get("location") == "header" and name in body:
            headers[member.serialization["name"].lower()] = str(body.pop(name))
    payload = shape.serialization.get("payload")
    status = int(operation.model.http.get("responseCode", 200))
    if payload is None:
        return Answer(status, json.dumps(body).encode(), headers)
    content = body.get(payload, b"")
    return Answer(status, content if isinstance(content, bytes) else json.dumps(content).encode(), headers)
