"""How a new model takes over: the share that it gets first, how long it bakes, and which alarms take it back."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.run import Refused
from loopcast import aws
from loopcast.names import Names

_log = logging.getLogger(__name__)
_KINDS = ("degraded", "quantile-loss", "unsound-forecasts")
_TYPES = ["MetricAlarm", "CompositeAlarm"]
_LARGEST_CANARY = 50
_LONGEST_WAIT = 3600
_LEAST_LIMIT, _LARGEST_LIMIT = 600, 28_800
_MISSED = 0.05


@dataclass(frozen=True)
class Guardrails:
    """The new model gets `canary_percent` of the requests first (0: all at once) and bakes for `bake_seconds` on the
    wall after each step; `alarms` take it back. `check` asks the endpoint so many times, and says what is wrong with
    the answers."""

    canary_percent: int = 0
    bake_seconds: float = 0.0
    alarms: Sequence[str] = ()
    check: Callable[[int], list[str]] = lambda _: []

    def __post_init__(self) -> None:
        if not 0 <= self.canary_percent <= _LARGEST_CANARY:
            raise Refused(f"canary_percent must be from 0 to {_LARGEST_CANARY}, not {self.canary_percent}.")

    @property
    def wait(self) -> int:
        """The wait after each step, in whole seconds as SageMaker takes them."""
        return min(_LONGEST_WAIT, math.ceil(self.bake_seconds))

    @property
    def seconds(self) -> int:
        """All waits together."""
        return self.wait * (2 if self.canary_percent else 1)

    def poll(self, seconds: float) -> float:
        """Seconds between two looks, at most `seconds`: so few that no bake passes unseen."""
        return min(seconds, self.wait / 3) if self.wait else seconds

    @property
    def asks(self) -> int:
        """So many requests that one in twenty such series misses the canary."""
        share = self.canary_percent / 100
        return math.ceil(math.log(_MISSED) / math.log(1 - share)) if 0 < share < 1 else 1

    def deployment(self, limit_seconds: float) -> dict[str, Any]:
        """The DeploymentConfig; the endpoint may take `limit_seconds` beside the waits."""
        routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.wait}
        if self.canary_percent:
            size = {"Type": "CAPACITY_PERCENT", "Value": self.canary_percent}
            routing = {**routing, "Type": "CANARY", "CanarySize": size}
        limit = min(_LARGEST_LIMIT, max(_LEAST_LIMIT, math.ceil(limit_seconds) + 1 + self.seconds))
        policy = {"TrafficRoutingConfiguration": routing, "MaximumExecutionTimeoutInSeconds": limit}
        watched = {"Alarms": [{"AlarmName": name} for name in self.alarms]}
        rollback = {"AutoRollbackConfiguration": watched} if self.alarms else {}
        return {"BlueGreenUpdatePolicy": policy, **rollback}


def states(alarms: Sequence[str]) -> dict[str, str]:
    """The states of those of the alarms, metric or composite, that exist."""
    if not alarms:
        return {}
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=list(alarms), AlarmTypes=_TYPES)
    return {item["AlarmName"]: item["StateValue"] for kind in _TYPES for item in found[f"{kind}s"]}


def guarding(names: Names, stage: str, given: str) -> list[str]:
    """The alarms that are to take a deployment back: those named in `given`, with commas, or the stage's own.

    What does not exist is left out, and so is what is in ALARM already: that speaks of the model that is replaced, and
    would take back the very model that is to mend it.
    """
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    known = states(wanted or [names.alarm(stage, kind) for kind in _KINDS])
    standing = [name for name, state in known.items() if state == "ALARM"]
    if standing:
        _log.warning("in alarm before the deployment, and not heeded in it: %s", ", ".join(standing))
    return [name for name in known if name not in standing]
