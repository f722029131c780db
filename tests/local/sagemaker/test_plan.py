"""A DeploymentConfig says in which steps traffic shifts; what AWS refuses is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.errors import ValidationException
from local.sagemaker.plan import Plan, read_plan


def config(kind: str, wait: int = 60, **policy: Any) -> dict[str, Any]:
    sizes = {name: policy.pop(name) for name in ("CanarySize", "LinearStepSize") if name in policy}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **policy}}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def count(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def test_without_a_policy_all_traffic_shifts_at_once_without_a_wait() -> None:
    assert read_plan({}, 1) == Plan(shares=(1.0,), bake_seconds=0)


def test_a_canary_gets_its_share_first_by_percent_or_by_instances() -> None:
    assert read_plan(config("CANARY", CanarySize=percent(10)), 1).shares == (0.1, 1.0)
    assert read_plan(config("CANARY", CanarySize=count(1)), 4).shares == (0.25, 1.0)


@given(st.integers(10, 50))
def test_linear_steps_grow_evenly_until_all_is_shifted(size: int) -> None:
    shares = read_plan(config("LINEAR", LinearStepSize=percent(size)), 1).shares
    assert shares[-1] == 1
    assert list(shares[:-1]) == pytest.approx([size / 100 * step for step in range(1, len(shares))])
    assert 0 < 1 - shares[-2] <= size / 100 + 1e-9


def test_waits_limits_and_alarms_are_kept() -> None:
    request = config("ALL_AT_ONCE", TerminationWaitInSeconds=5, MaximumExecutionTimeoutInSeconds=600)
    request["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": "one"}, {"AlarmName": "two"}]}
    assert read_plan(request, 1) == Plan((1.0,), 60, 5, 600, ("one", "two"))
    assert read_plan(config("ALL_AT_ONCE"), 1).limit_seconds == math.inf


@pytest.mark.parametrize(
    ("request_", "instances", "said"),
    [
        (config("CANARY"), 1, "needs CanarySize"),
        (config("LINEAR"), 1, "needs LinearStepSize"),
        (config("CANARY", CanarySize=percent(51)), 1, "at most 50 percent"),
        (config("CANARY", CanarySize=count(1)), 1, "at most 50 percent"),
        (config("LINEAR", LinearStepSize=percent(9)), 1, "at least 10"),
        (config("CANARY", 300, CanarySize=percent(9), MaximumExecutionTimeoutInSeconds=600), 1, "total waiting time"),
        ({"RollingUpdatePolicy": {}}, 1, "BlueGreenUpdatePolicy alone"),
    ],
)
def test_what_can_not_be_done_is_refused(request_: dict[str, Any], instances: int, said: str) -> None:
    with pytest.raises(ValidationException, match=said):
        read_plan(request_, instances)
