"""Tells EventBridge of endpoints and model packages that change their state, on the default bus, as SageMaker does.

What changes while EventBridge can't be reached is logged and not told later: an event never holds up what it is about.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.door import SERVICE_HEADER
from local.sagemaker import registry
from local.sagemaker.context import Context
from local.sagemaker.registry import Json
from local.sagemaker.store import Resource
from loopcast import aws

_STATES = {
    "endpoint": ("SageMaker Endpoint State Change", ("EndpointStatus",)),
    "model-package": ("SageMaker Model Package State Change", ("ModelPackageStatus", "ModelApprovalStatus")),
}
_STOP_SECONDS = 5.0

log = logging.getLogger(__name__)


@registry.service
class Events:
    """Publishes in a thread of its own."""

    def __init__(self, context: Context) -> None:
        self._queue: SimpleQueue[Json | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        context.store.watch(self._note)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join(_STOP_SECONDS)

    def _note(self, before: Resource | None, after: Resource) -> None:
        event = event_of(before, after)
        if event:
            self._queue.put(event)

    def _run(self) -> None:
        while event := self._queue.get():
            try:
                _publish(event)
            except (BotoCoreError, ClientError):
                log.exception("an event couldn't be published", extra={"event": event["DetailType"]})


def event_of(before: Resource | None, after: Resource) -> Json | None:
    """The entry for PutEvents that tells of a change of state; None when the state is as it was."""
    detail_type, fields = _STATES.get(after.kind, ("", ()))
    states = [after.document.get(field) for field in fields]
    if not fields or (before is not None and states == [before.document.get(field) for field in fields]):
        return None
    return {
        "Source": "aws.sagemaker",
        "DetailType": detail_type,
        "Resources": [after.document["EndpointArn" if after.kind == "endpoint" else "ModelPackageArn"]],
        "Detail": json.dumps(_detail(after)),
    }


def _detail(resource: Resource) -> Json:
    """What Describe answers. An endpoint's status is spelled otherwise in events: IN_SERVICE."""
    detail = {name: _time(value) if name.endswith("Time") else value for name, value in resource.document.items()}
    if "EndpointStatus" in detail:
        detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper()
    return detail


def _time(seconds: Any) -> Any:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if isinstance(seconds, (int, float)) else seconds


def _publish(event: Json) -> None:
    client = aws.client("events")
    client.meta.events.register("before-call.eventbridge.PutEvents", _enter, unique_id="loopcast-service")
    (entry,) = client.put_events(Entries=[event])["Entries"]
    if "ErrorCode" in entry:
        log.warning("an event was refused", extra={"event": event["DetailType"], "reason": entry["ErrorMessage"]})


def _enter(params: dict[str, Any], **_: object) -> None:
    params["headers"][SERVICE_HEADER] = "sagemaker"
