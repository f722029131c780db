"""Who launches: a launch is whoever's claim was written first, in the feed's launches table.

A policy's launches are numbered, and number n + 1 can be claimed by nobody who has not seen number n: the claim's name
is made of the policy and the number, and a name is written once. So two replicas, or one that was started again, never
launch the same thing twice, and whoever decides on old knowledge comes too late.

A claim is leased to whoever is about to launch. When that never happens, another takes the lease once it has expired.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import ClientError

from loopcast import aws
from operators.models import iso
from operators.runs import Run, RunState

LEASE_SECONDS = 120.0
"""How long, on the wall, a claimed launch is its claimer's alone: longer than a launch may take."""
KEPT = 50
"""How many of a policy's newest launches are read."""
_LONGEST_STEM = 24
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def stem(policy: str, kind: str) -> str:
    """What the names of a policy's launches begin with: `bitcoin-fees-retrain`, at most 24 characters."""
    name = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", f"{policy}-{kind}".lower())).strip("-")
    if len(name) <= _LONGEST_STEM:
        return name
    return f"{name[: _LONGEST_STEM - 7].rstrip('-')}-{hashlib.sha256(f'{policy}/{kind}'.encode()).hexdigest()[:6]}"


def run_id(claim: str, wall_seconds: float) -> str:
    """The id of the run of a claim: its name and the minute in which it was made, so that it stays the only one of its
    name when the table is made anew and numbers begin again."""
    minutes, digits = int(wall_seconds // 60), ""
    while minutes:
        minutes, digit = divmod(minutes, 36)
        digits = _DIGITS[digit] + digits
    return f"{claim}-{digits or '0'}"


class Claims(Protocol):
    """A policy's launches. Every method raises AWS errors; `stem` is the policy's."""

    def read(self, stem: str) -> list[Run]:
        """The newest launches, oldest first."""
        ...

    def claim(self, stem: str, run: Run) -> Run | None:
        """Claims the launch of `run.sequence`, which gets its id; None when somebody else was faster."""
        ...

    def take(self, stem: str, run: Run) -> bool:
        """Takes the lease of a claimed launch; False when another holds it, or the launch has happened."""
        ...

    def record(self, stem: str, run: Run) -> None:
        """Writes how the run is, unless it is known to be over."""
        ...


@dataclass
class ClaimTable:
    """Claims in the DynamoDB table `table`, made by `owner`; `wall` is the wall clock."""

    table: str
    owner: str
    wall: Callable[[], float]

    def __post_init__(self) -> None:
        self._newest: dict[str, int] = {}

    def read(self, stem: str) -> list[Run]:
        first = max(1, self._newest.get(stem, 0) - KEPT + 1)
        items: dict[int, Mapping[str, Any]] = {}
        while True:
            page = self._page(stem, range(first, first + 2 * KEPT))
            items |= page
            if len(page) < 2 * KEPT:
                break
            first += 2 * KEPT
        self._newest[stem] = max(items, default=0)
        return [self._run(sequence, items[sequence]) for sequence in sorted(items)[-KEPT:]]

    def claim(self, stem: str, run: Run) -> Run | None:
        claim = f"{stem}-{run.sequence}"
        claimed = replace(run, id=run_id(claim, self.wall()), state=RunState.CLAIMED)
        item = {
            "id": {"S": claim},
            "owner": {"S": self.owner},
            "leased_until": {"N": str(self.wall() + LEASE_SECONDS)},
            "run_state": {"S": claimed.state.value},
            "run": {"S": json.dumps(_document(claimed))},
        }
        done = self._conditionally("put_item", Item=item, ConditionExpression="attribute_not_exists(id)")
        return claimed if done else None

    def take(self, stem: str, run: Run) -> bool:
        return self._conditionally(
            "update_item",
            Key={"id": {"S": f"{stem}-{run.sequence}"}},
            UpdateExpression="SET #owner = :me, leased_until = :later",
            ConditionExpression="run_state = :claimed AND (#owner = :me OR leased_until < :now)",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={
                ":me": {"S": self.owner},
                ":later": {"N": str(self.wall() + LEASE_SECONDS)},
                ":now": {"N": str(self.wall())},
                ":claimed": {"S": RunState.CLAIMED.value},
            },
        )

    def record(self, stem: str, run: Run) -> None:
        self._conditionally(
            "update_item",
            Key={"id": {"S": f"{stem}-{run.sequence}"}},
            UpdateExpression="SET run_state = :state, #run = :run",
            ConditionExpression="run_state IN (:claimed, :running)",
            ExpressionAttributeNames={"#run": "run"},
            ExpressionAttributeValues={
                ":state": {"S": run.state.value},
                ":run": {"S": json.dumps(_document(run))},
                ":claimed": {"S": RunState.CLAIMED.value},
                ":running": {"S": RunState.RUNNING.value},
            },
        )

    def _page(self, stem: str, sequences: range) -> dict[int, Mapping[str, Any]]:
        keys = [{"id": {"S": f"{stem}-{sequence}"}} for sequence in sequences]
        found: dict[int, Mapping[str, Any]] = {}
        while keys:
            request = {self.table: {"Keys": keys, "ConsistentRead": True}}
            answer = aws.client("dynamodb").batch_get_item(RequestItems=request)
            for item in answer["Responses"].get(self.table, []):
                found[int(item["id"]["S"].rpartition("-")[2])] = item
            keys = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
        return found

    def _run(self, sequence: int, item: Mapping[str, Any]) -> Run:
        mine, expired = item["owner"]["S"] == self.owner, float(item["leased_until"]["N"]) < self.wall()
        return replace(_parsed(sequence, json.loads(item["run"]["S"])), free=mine or expired)

    def _conditionally(self, call: str, **request: Any) -> bool:
        try:
            getattr(aws.client("dynamodb"), call)(TableName=self.table, **request)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _document(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "pipeline": run.pipeline,
        "trigger": run.trigger,
        "reason": run.reason,
        "launched_at": iso(run.launched_at),
        "finished_at": iso(run.finished_at) if run.finished_at else None,
        "state": run.state.value,
        "request": run.request,
        "digest": run.digest,
        "handle": run.handle,
        "attempts": run.attempts,
        "message": run.message,
        "arguments": dict(run.arguments),
        "tags": dict(run.tags),
        "policy": run.policy,
    }


def _parsed(sequence: int, document: Mapping[str, Any]) -> Run:
    ended = document["finished_at"]
    return Run(
        sequence=sequence,
        **{
            **document,
            "state": RunState(document["state"]),
            "launched_at": datetime.fromisoformat(document["launched_at"]),
            "finished_at": datetime.fromisoformat(ended) if ended else None,
        },
    )
