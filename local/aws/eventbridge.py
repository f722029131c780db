"""Mends ministack's EventBridge: it keeps a log of every event ever published, which nothing reads and which would fill
the memory of a server that our path runs through; and it has no way for SageMaker, which is a program of its own here,
to publish AWS's own events, as nobody else may."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from ministack.services import eventbridge

from local.aws.door import SERVICE_HEADER

_handle_request = eventbridge.handle_request


def install() -> None:
    """Puts a log that keeps nothing, and a door for services, in the place of ministack's."""
    nothing: deque[Any] = deque(maxlen=0)
    eventbridge._events_log_list = lambda: nothing
    eventbridge.handle_request = handle_request


async def handle_request(method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> Any:
    """As ministack's; events with the header of a service may have a source of AWS's own."""
    if SERVICE_HEADER in headers and headers.get("x-amz-target", "").endswith(".PutEvents"):
        eventbridge._ensure_default_bus()
        return eventbridge._put_events(json.loads(body), allow_aws_source=True)
    return await _handle_request(method, path, headers, body, query)
