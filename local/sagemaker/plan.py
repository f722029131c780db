"""How an endpoint's traffic shifts to a new fleet, as a DeploymentConfig says it; pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from local.sagemaker.errors import ValidationException
from local.sagemaker.registry import Json

_LARGEST = 0.5
_SIZES = {"CANARY": ("CanarySize", 0.0), "LINEAR": ("LinearStepSize", 0.1)}
"""The field that says how much shifts first, or at a time, and the least that it may be."""


@dataclass(frozen=True)
class Plan:
    """`shares` of the traffic that the new fleet gets, a step each, the last of which is 1; after each, `bake_seconds`
    in which the alarms are watched. The old fleet stays `termination_seconds` longer. A deployment that takes more
    than `limit_seconds` is rolled back."""

    shares: tuple[float, ...] = (1.0,)
    bake_seconds: float = 0.0
    termination_seconds: float = 0.0
    limit_seconds: float = math.inf
    alarms: tuple[str, ...] = ()


def read_plan(deployment: Json, instances: int) -> Plan:
    """The plan of a DeploymentConfig for a fleet of so many instances. Raises `ValidationException`."""
    if "RollingUpdatePolicy" in deployment:
        raise ValidationException("DeploymentConfig: this SageMaker knows BlueGreenUpdatePolicy alone.")
    alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    policy = deployment.get("BlueGreenUpdatePolicy")
    if policy is None:
        return Plan(alarms=_names(alarms))
    routing = policy["TrafficRoutingConfiguration"]
    shares = _shares(routing, instances)
    plan = Plan(
        shares=shares,
        bake_seconds=routing["WaitIntervalInSeconds"],
        termination_seconds=policy.get("TerminationWaitInSeconds", 0),
        limit_seconds=policy.get("MaximumExecutionTimeoutInSeconds", math.inf),
        alarms=_names(alarms),
    )
    waits = len(shares) * plan.bake_seconds + plan.termination_seconds
    if waits >= plan.limit_seconds:
        raise ValidationException(
            f"MaximumExecutionTimeoutInSeconds must be larger than the total waiting time, which is {waits} seconds."
        )
    return plan


def _names(alarms: list[Json]) -> tuple[str, ...]:
    return tuple(alarm["AlarmName"] for alarm in alarms if "AlarmName" in alarm)


def _shares(routing: Json, instances: int) -> tuple[float, ...]:
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    field, least = _SIZES[kind]
    if field not in routing:
        raise ValidationException(f"TrafficRoutingConfiguration of type {kind} needs {field}.")
    share = _share(routing[field], instances)
    if not least <= share <= _LARGEST:
        raise ValidationException(
            f"{field} must be at most 50 percent{' and at least 10' if least else ''} of {instances} instances."
        )
    if kind == "CANARY":
        return (share, 1.0)
    return (*(step * share for step in range(1, math.ceil(1 / share - 1e-9))), 1.0)


def _share(size: Json, instances: int) -> float:
    return float(size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances))
