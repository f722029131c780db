"""Which function answers which operation, and which services run in the background.

A module of a subject registers its functions when it is imported:

    @operation("DescribeModel")
    def describe_model(context: Context, request: dict[str, Any]) -> dict[str, Any]: ...

A request has passed the service model already; timestamps are seconds since the epoch in requests and answers alike,
blobs are bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from local.sagemaker.context import Context

Json = dict[str, Any]
Handler = Callable[["Context", Json], Json]


class Service(Protocol):
    """Something that lives as long as the server: `context.service(Class)` gives the one instance."""

    def __init__(self, context: Context) -> None: ...

    def start(self) -> None:
        """Called once before the first request; takes up what an earlier process left."""

    def stop(self) -> None:
        """Called once after the last request; returns when nothing of it runs any more."""


OPERATIONS: dict[tuple[str, str], Handler] = {}
SERVICES: list[type[Service]] = []

SERVICE = TypeVar("SERVICE", bound=type[Service])


def operation(name: str, service: str = "sagemaker") -> Callable[[Handler], Handler]:
    """Registers a function as the answer to `name` of `service` (botocore's name of it)."""

    def register(handler: Handler) -> Handler:
        if (service, name) in OPERATIONS:
            raise ValueError(f"{service} {name} is registered twice")
        OPERATIONS[service, name] = handler
        return handler

    return register


def service(kind: SERVICE) -> SERVICE:
    """Registers a class whose one instance runs as long as the server; they start in the order of registration."""
    SERVICES.append(kind)
    return kind
