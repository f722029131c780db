"""What we use of ministack's insides, in one place: it is pinned, and a new version is checked here first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from ministack import app
from ministack.services import cloudwatch, eventbridge, firehose, kinesis, s3


class Services:
    """ministack's services, for our own that work beside them in threads."""

    def __init__(self) -> None:
        self.cloudwatch, self.firehose, self.kinesis = cloudwatch, firehose, kinesis

    def put_object(self, bucket: str, key: str, body: bytes) -> None:
        """Stores an object in the S3 of the current account. Raises `OSError` when S3 refuses it."""
        headers = {"content-type": "application/octet-stream", "content-length": str(len(body)), "host": "localhost"}
        put = partial(s3.handle_request, internal=True)
        status, _, answer = app.call_service_handler_sync(put, "PUT", f"/{bucket}/{key}", headers, body, {}, 60)
        if status != 200:
            raise OSError(f"S3 refused s3://{bucket}/{key}: {answer.decode(errors='replace')}")

    def record_metric(self, namespace: str, name: str, value: float, unit: str, dimensions: dict[str, str]) -> None:
        """Adds a data point to CloudWatch."""
        cloudwatch.record_metric(namespace, name, value, unit, dimensions)

    def put_event(self, source: str, detail_type: str, resources: Sequence[str], detail: Any) -> None:
        """Puts an event of AWS's own on the default bus of the current account."""
        entry = {"Source": source, "DetailType": detail_type, "Resources": list(resources)}
        eventbridge._ensure_default_bus()
        eventbridge._put_events({"Entries": [{**entry, "Detail": json.dumps(detail)}]}, allow_aws_source=True)

    def states(self) -> dict[str, Any]:
        """For each service that was used, the function that returns what it holds."""
        states: dict[str, Any] = app._build_persistence_save_dict()
        return states
