"""A service that takes only a part of a batch, as Kinesis and EventBridge do when they throttle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import EndpointConnectionError

from loopcast import aws


@dataclass(frozen=True)
class Batch:
    """A batch operation: where its request has the items, and its answer the results."""

    service: str
    operation: str
    items: str
    results: str


PUT_EVENTS = Batch("events", "PutEvents", "Entries", "Entries")
PUT_RECORDS = Batch("kinesis", "PutRecords", "Records", "Records")


@dataclass
class Faults:
    """What is to go wrong: the items of each of the first `rounds` calls whose index is in `indices` are not taken,
    for `code`. `calls` has the number of items of each call."""

    batch: Batch
    indices: frozenset[int]
    rounds: int
    code: str
    calls: list[int]

    def strip(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
        items = params[self.batch.items]
        self.calls.append(len(items))
        context["failing"] = {i for i in range(len(items)) if i in self.indices and len(self.calls) <= self.rounds}
        kept = [item for i, item in enumerate(items) if i not in context["failing"]]
        if not kept:
            raise EndpointConnectionError(endpoint_url="http://nowhere")
        return {**params, self.batch.items: kept}

    def report(self, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        results = list(parsed[self.batch.results])
        for index in sorted(context["failing"]):
            results.insert(index, {"ErrorCode": self.code, "ErrorMessage": "so the test wants it"})
        parsed[self.batch.results] = results


@contextmanager
def partial_failures(batch: Batch, *indices: int, rounds: int = 1, code: str = "InternalFailure") -> Iterator[Faults]:
    """Meanwhile, the first `rounds` calls of the batch operation lack the items at `indices`."""
    faults = Faults(batch, frozenset(indices), rounds, code, [])
    events = aws.client(batch.service).meta.events
    names = [f"{when}.{batch.service}.{batch.operation}" for when in ("provide-client-params", "after-call")]
    events.register(names[0], faults.strip)
    events.register(names[1], faults.report)
    try:
        yield faults
    finally:
        events.unregister(names[0], faults.strip)
        events.unregister(names[1], faults.report)


@contextmanager
def refused_call(service: str, operation: str, times: int) -> Iterator[list[int]]:
    """Meanwhile, the first `times` calls of the operation don't come to the service. Yields a list that grows by one
    with every call."""
    calls: list[int] = []

    def refuse(**_: Any) -> None:
        calls.append(1)
        if len(calls) <= times:
            raise EndpointConnectionError(endpoint_url="http://nowhere")

    events = aws.client(service).meta.events
    name = f"provide-client-params.{service}.{operation}"
    events.register(name, refuse)
    try:
        yield calls
    finally:
        events.unregister(name, refuse)
