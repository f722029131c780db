"""Records into a Kinesis stream: full requests, and only what failed sent again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.delivery import Pause, deliver, fitting
from loopcast import aws

REQUEST_RECORDS = 500
REQUEST_BYTES = 5 * 1024 * 1024
RECORD_BYTES = 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewRecord:
    """Data for a stream and the key that chooses its shard."""

    key: str
    data: bytes


def put_records(stream: str, records: Sequence[NewRecord], pause: Pause) -> list[NewRecord]:
    """Puts `records` in their order; returns those that were left when `pause` allowed no other try."""

    def put(batch: Sequence[NewRecord]) -> list[NewRecord]:
        answer = aws.client("kinesis").put_records(
            StreamName=stream, Records=[{"Data": record.data, "PartitionKey": record.key} for record in batch]
        )
        results = zip(batch, answer["Records"], strict=True)
        failed = [(record, result["ErrorCode"]) for record, result in results if result.get("ErrorCode")]
        if failed:
            log.warning("records failed", extra={"stream": stream, "count": len(failed), "code": failed[0][1]})
        return [record for record, _ in failed]

    return deliver(records, _fit, put, pause)


def _fit(records: Sequence[NewRecord]) -> int:
    return fitting((len(record.data) + len(record.key.encode()) for record in records), REQUEST_RECORDS, REQUEST_BYTES)
