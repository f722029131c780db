"""What the models of our custom resources have in common: camel case in YAML, nothing unknown, nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

RULES = "x-kubernetes-validations"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def iso(moment: datetime) -> str:
    """`2026-11-21T14:05:00Z`, to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


Moment = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Model(BaseModel):
    """A part of a specification: what it doesn't know is refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", allow_inf_nan=False
    )


class Status(BaseModel):
    """A part of a status: what a later version has written is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def cel(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules in a JSON schema, each a rule and what is said when it doesn't hold."""
    return {RULES: [{"rule": rule, "message": message} for rule, message in pairs]}


def rules(*pairs: tuple[str, str]) -> ConfigDict:
    """The configuration of a model with CEL rules."""
    return ConfigDict(json_schema_extra=cel(*pairs))
