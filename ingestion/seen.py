"""The table of ids that were delivered: each with the time until which it is remembered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ingestion.delivery import Pause, chunks, deliver
from loopcast import aws

READ_KEYS = 100
WRITE_ITEMS = 25


class Seen:
    """A table with key `id` and attribute `expires_at` (seconds since the epoch); calls go over `pool`.

    DynamoDB deletes expired items days late: the time in the item decides, never the item's presence alone.
    """

    def __init__(self, table: str, remember_seconds: float, now: Callable[[], float], pool: ThreadPoolExecutor) -> None:
        self._table = table
        self._remember = remember_seconds
        self._now = now
        self._pool = pool

    def among(self, ids: Sequence[str], pause: Pause) -> set[str]:
        """Those of the distinct `ids` that are remembered. An id that can't be looked up in time is not among them:
        delivered again, it is dropped by the window."""
        looked_up = self._pool.map(lambda chunk: self._look_up(chunk, pause), chunks(ids, READ_KEYS))
        return {identifier for found in looked_up for identifier in found}

    def mark(self, ids: Sequence[str], pause: Pause) -> set[str]:
        """Remembers the distinct `ids`; returns those that could not be marked."""
        left = self._pool.map(
            lambda chunk: deliver(chunk, len, self._write, pause),
            chunks(ids, WRITE_ITEMS),
        )
        return {identifier for some in left for identifier in some}

    def _look_up(self, ids: Sequence[str], pause: Pause) -> set[str]:
        found: set[str] = set()

        def read(some: Sequence[str]) -> list[str]:
            request = {self._table: {"Keys": [{"id": {"S": identifier}} for identifier in some]}}
            answer = aws.client("dynamodb").batch_get_item(RequestItems=request)
            items = answer["Responses"].get(self._table, [])
            found.update(item["id"]["S"] for item in items if self._is_remembered(item))
            return [key["id"]["S"] for key in answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])]

        deliver(ids, len, read, pause)
        return found

    def _is_remembered(self, item: dict[str, Any]) -> bool:
        return float(item["expires_at"]["N"]) > self._now()

    def _write(self, ids: Sequence[str]) -> list[str]:
        expires = {"N": str(math.ceil(self._now() + self._remember))}
        requests = [{"PutRequest": {"Item": {"id": {"S": identifier}, "expires_at": expires}}} for identifier in ids]
        answer = aws.client("dynamodb").batch_write_item(RequestItems={self._table: requests})
        return [
            request["PutRequest"]["Item"]["id"]["S"]
            for request in answer.get("UnprocessedItems", {}).get(self._table, [])
        ]
