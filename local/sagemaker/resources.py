"""What all kinds of resources have in common: how they are found, described, listed and deleted."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.sagemaker.context import Context
from local.sagemaker.errors import ServiceError, ValidationException
from local.sagemaker.protocol import model
from local.sagemaker.registry import Json
from local.sagemaker.store import Resource

_PAGE = 10


@dataclass(frozen=True)
class Kind:
    """A kind of resource. `arn` is its word in ARNs, `prefix` that of its fields (`TrainingJob` of TrainingJobName);
    `missing` and `taken` are the service's sentences, with `{arn}` and `{name}` to fill in; `missing_error` is what it
    raises then."""

    arn: str
    prefix: str
    missing: str
    taken: str
    newest_first: bool = False
    missing_error: type[ServiceError] = ValidationException

    def arn_of(self, name: str) -> str:
        return Context.arn(self.arn, name)

    def find(self, context: Context, name: str) -> Resource:
        """Raises `missing_error` when there is none."""
        found = context.store.get(self.arn, name)
        if found is None:
            raise self.missing_error(self.missing.format(name=name, arn=self.arn_of(name)))
        return found

    def delete(self, context: Context, name: str) -> None:
        """Deletes the resource and its tags. Raises `missing_error` when there is none."""
        document = self.find(context, name).document
        with context.store.transaction():
            context.store.delete(self.arn, name)
            context.store.delete_tags(document[f"{self.prefix}Arn"])


def create(
    context: Context, kind: Kind, request: Json, document: Json, *, error: type[ServiceError] = ValidationException
) -> Json:
    """Stores a new resource: the request's own fields but its tags, and `document`; answers with its ARN.
    Raises `error` when the name is taken."""
    name = request[f"{kind.prefix}Name"]
    arn = kind.arn_of(name)
    fields = {key: value for key, value in request.items() if key != "Tags"}
    with context.store.transaction():
        if not context.store.add(Resource(kind.arn, name, {**fields, f"{kind.prefix}Arn": arn, **document})):
            raise error(kind.taken.format(name=name, arn=arn))
        context.store.set_tags(arn, request.get("Tags", []))
    return {f"{kind.prefix}Arn": arn}


def describe(context: Context, kind: Kind, name: str, operation: str | None = None) -> Json:
    """The answer of a Describe operation (that of the kind's prefix, unless named): what is stored under the names that
    the service model knows. Raises the kind's `missing_error` when there is no such resource."""
    members = model("sagemaker").operation_model(operation or f"Describe{kind.prefix}").output_shape.members
    return {key: value for key, value in kind.find(context, name).document.items() if key in members}


def listing(context: Context, kind: Kind, operation: str, request: Json) -> Json:
    """The answer of a List operation over all resources of `kind`, by the filters, the order and the page asked for."""
    return page(operation, kind, [resource.document for resource in context.store.all(kind.arn)], request)


def page(operation: str, kind: Kind, documents: list[Json], request: Json) -> Json:
    """The answer of a List operation over `documents`: those that pass the filters, in the order asked for, from where
    the request's NextToken says; each with the fields that its summary has in the service model."""
    shape = model("sagemaker").operation_model(operation).output_shape
    key, members = next((k, m.member.members) for k, m in shape.members.items() if m.type_name == "list")
    order = _order(kind, request)
    backwards = request.get("SortOrder", "Descending" if kind.newest_first else "Ascending") == "Descending"
    kept = sorted((d for d in documents if _passes(kind, d, request)), key=order, reverse=backwards)
    after = _read_token(request.get("NextToken"))
    if after is not None:
        kept = [d for d in kept if (order(d) < after if backwards else order(d) > after)]
    size = request.get("MaxResults", _PAGE)
    answer: Json = {key: [{name: d[name] for name in members if name in d} for d in kept[:size]]}
    if len(kept) > size:
        answer["NextToken"] = _token(order(kept[size - 1]))
    return answer


def _order(kind: Kind, request: Json) -> Callable[[Json], tuple[Any, str]]:
    """The key to sort by; ties are broken by the ARN, so that pages neither repeat nor miss one."""
    sort = request.get("SortBy", "CreationTime")
    name = sort if sort.endswith("Time") else f"{kind.prefix}{sort}"
    return lambda document: (document.get(name, ""), document[f"{kind.prefix}Arn"])


def _passes(kind: Kind, document: Json, request: Json) -> bool:
    return (
        request.get("NameContains", "").lower() in document[f"{kind.prefix}Name"].lower()
        and request.get("StatusEquals") in (None, document.get(f"{kind.prefix}Status"))
        and _in_time(document, request, "CreationTime")
        and _in_time(document, request, "LastModifiedTime")
    )


def _in_time(document: Json, request: Json, field: str) -> bool:
    """Whether the field lies between the request's `...After` and `...Before`."""
    value: Any = document.get(field, document["CreationTime"])
    earliest, latest = request.get(f"{field}After", value), request.get(f"{field}Before", value)
    return bool(earliest <= value <= latest)


def _token(last: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode()


def _read_token(token: str | None) -> tuple[Any, str] | None:
    if token is None:
        return None
    try:
        value, arn = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise ValidationException("The NextToken is not one that this operation gave.") from None
    return value, arn
