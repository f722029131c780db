"""Who reads which shard: leases in a DynamoDB table, taken and kept by conditional writes.

A lease's counter rises with every sign of life of its owner. Whoever has watched a counter stand still for the lease's
duration, on its own monotonic clock, may take the lease: no two machines' clocks are ever compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from loopcast import aws

SHARD_END = "SHARD_END"
"""The position of a closed shard that was read to its end."""
_READ_KEYS = 100


@dataclass(frozen=True)
class Shard:
    """A shard of a stream; its parents are those that it was split or merged from."""

    id: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lease:
    """A shard's lease. `position` is the sequence number up to which everything is done; None: nothing yet."""

    shard: str
    owner: str | None = None
    counter: int = 0
    position: str | None = None


@dataclass
class Watch:
    """What one reader has seen of the leases' counters, and when it first saw each, on its monotonic clock."""

    duration: float
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def expired(self, leases: Collection[Lease], now: float) -> set[str]:
        """The shards whose lease's counter has stood still for the duration."""
        before, self._seen = self._seen, {}
        for lease in leases:
            counter, since = before.get(lease.shard, (lease.counter, now))
            self._seen[lease.shard] = (lease.counter, since if counter == lease.counter else now)
        return {shard for shard, (_, since) in self._seen.items() if now - since >= self.duration}


def readable(shards: Sequence[Shard], leases: Mapping[str, Lease]) -> list[str]:
    """The shards that are to be read now: not read to their end, and after all their parents that still exist."""
    known = {shard.id for shard in shards}

    def ended(shard: str) -> bool:
        return shard in leases and leases[shard].position == SHARD_END

    return [
        shard.id
        for shard in shards
        if not ended(shard.id) and all(ended(parent) for parent in shard.parents if parent in known)
    ]


def to_take(me: str, shards: Collection[str], leases: Mapping[str, Lease], expired: Collection[str]) -> list[str]:
    """The shards that `me` shall take now, of the readable `shards`.

    Free ones up to a fair share; with none free, one of the owner who has most, if that has two more than `me`: so
    shares differ by one at most in the end, and nothing is taken to and fro.
    """
    owners = {shard: leases[shard].owner for shard in shards if shard in leases and shard not in expired}
    held = Counter(owner for owner in owners.values() if owner)
    fair = math.ceil(len(shards) / len(held.keys() | {me}))
    free = [shard for shard in shards if owners.get(shard) is None]
    if free:
        return free[: max(0, fair - held[me])]
    busiest, most = max(held.items(), key=lambda item: (item[1], item[0]), default=(me, 0))
    if most < held[me] + 2:
        return []
    return [next(shard for shard, owner in owners.items() if owner == busiest)]


class LeaseTable:
    """The leases of one stream in a table with key `shard`, as `stream/shard`. Every method raises AWS errors."""

    def __init__(self, table: str, stream: str, owner: str) -> None:
        self._table = table
        self._stream = stream
        self._owner = owner

    def read(self, shards: Sequence[str]) -> dict[str, Lease]:
        """The leases that exist of `shards`, by shard."""
        leases: dict[str, Lease] = {}
        keys = [self._key(shard) for shard in shards]
        while keys:
            request = {self._table: {"Keys": keys[:_READ_KEYS], "ConsistentRead": True}}
            answer = aws.client("dynamodb").batch_get_item(RequestItems=request)
            for item in answer["Responses"].get(self._table, []):
                lease = self._lease(item)
                leases[lease.shard] = lease
            keys[:_READ_KEYS] = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
        return leases

    def take(self, shard: str, known: Lease | None) -> Lease | None:
        """Takes the shard's lease, if it is still as it was `known`; None when somebody was faster."""
        condition = "attribute_not_exists(#counter)" if known is None else "#counter = :known"
        values = {} if known is None else {":known": {"N": str(known.counter)}}
        item = self._update(shard, "SET #owner = :me ADD #counter :one", condition, values)
        return self._lease(item) if item else None

    def renew(self, shard: str) -> bool:
        """A sign of life; False when the lease is another's now."""
        return self._update(shard, "ADD #counter :one", "#owner = :me") is not None

    def checkpoint(self, shard: str, position: str) -> bool:
        """Everything up to `position` is done; False when the lease is another's now."""
        values = {":position": {"S": position}}
        update = "SET #position = :position ADD #counter :one"
        return self._update(shard, update, "#owner = :me", values) is not None

    def release(self, shard: str) -> None:
        """Gives the lease back, so that another reader need not wait until it expires."""
        self._update(shard, "REMOVE #owner ADD #counter :one", "#owner = :me")

    def _update(
        self, shard: str, update: str, condition: str, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The lease's item after the update; None when the condition doesn't hold."""
        used = {"#owner": "owner", "#counter": "counter", "#position": "position"}
        mine = {":me": {"S": self._owner}} if ":me" in update + condition else {}
        try:
            answer = aws.client("dynamodb").update_item(
                TableName=self._table,
                Key=self._key(shard),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={alias: name for alias, name in used.items() if alias in update + condition},
                ExpressionAttributeValues={":one": {"N": "1"}, **mine, **(values or {})},
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        item: dict[str, Any] = answer["Attributes"]
        return item

    def _key(self, shard: str) -> dict[str, Any]:
        return {"shard": {"S": f"{self._stream}/{shard}"}}

    def _lease(self, item: Mapping[str, Any]) -> Lease:
        return Lease(
            shard=item["shard"]["S"].removeprefix(f"{self._stream}/"),
            owner=item.get("owner", {}).get("S"),
            counter=int(item["counter"]["N"]),
            position=item.get("position", {}).get("S"),
        )
