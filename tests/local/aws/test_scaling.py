"""Application Auto Scaling's state: what is registered is told, and refused where AWS refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from loopcast.aws import client
from tests.conftest import Service, free_port, running

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
TRACKING = {
    "TargetValue": 600.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}


def target(name: str, **more: Any) -> dict[str, Any]:
    resource = f"endpoint/{name}/variant/AllTraffic"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": DIMENSION, **more}


def targets(scaling: Any, name: str) -> list[dict[str, Any]]:
    asked = [target(name)["ResourceId"]]
    return list(scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=asked)["ScalableTargets"])


def put(scaling: Any, name: str, **bounds: int) -> None:
    scaling.register_scalable_target(**target(name, **bounds))
    scaling.put_scaling_policy(
        **target(name, PolicyName="load", PolicyType="TargetTrackingScaling"),
        TargetTrackingScalingPolicyConfiguration=TRACKING,
    )


@pytest.mark.usefixtures("aws")
def test_what_is_registered_is_told_and_can_be_changed() -> None:
    scaling = client("application-autoscaling")
    put(scaling, "told", MinCapacity=1, MaxCapacity=2)
    scaling.register_scalable_target(**target("told", MaxCapacity=5))

    (found,) = targets(scaling, "told")
    (policy,) = scaling.describe_scaling_policies(**target("told"))["ScalingPolicies"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 5)
    assert policy["TargetTrackingScalingPolicyConfiguration"] == TRACKING
    assert policy["PolicyARN"].endswith(f"{found['ResourceId']}:policyName/load")


@pytest.mark.usefixtures("aws")
def test_policies_go_with_their_target() -> None:
    scaling = client("application-autoscaling")
    put(scaling, "gone", MinCapacity=1, MaxCapacity=2)

    scaling.deregister_scalable_target(**target("gone"))

    assert targets(scaling, "gone") == []
    assert scaling.describe_scaling_policies(**target("gone"))["ScalingPolicies"] == []
    with pytest.raises(ClientError, match=r"ObjectNotFoundException.*No scalable target found for"):
        scaling.deregister_scalable_target(**target("gone"))


@pytest.mark.usefixtures("aws")
def test_a_policy_needs_a_target_and_a_target_both_bounds_in_order() -> None:
    scaling = client("application-autoscaling")
    with pytest.raises(ClientError, match=r"ObjectNotFoundException"):
        scaling.put_scaling_policy(**target("none", PolicyName="load"))
    with pytest.raises(ClientError, match=r"ObjectNotFoundException.*policy name: load"):
        scaling.delete_scaling_policy(**target("none", PolicyName="load"))
    with pytest.raises(ClientError, match=r"ValidationException.*needs both"):
        scaling.register_scalable_target(**target("none", MinCapacity=1))
    with pytest.raises(ClientError, match=r"ValidationException.*must not be less"):
        scaling.register_scalable_target(**target("none", MinCapacity=2, MaxCapacity=1))
    with pytest.raises(ClientError, match=r"ValidationException.*at 'scalableDimension'"):
        scaling.register_scalable_target(**{**target("none"), "ScalableDimension": "sagemaker:x"})


@pytest.mark.usefixtures("aws")
def test_what_the_local_service_lacks_it_says() -> None:
    with pytest.raises(ClientError, match="lacks Application Auto Scaling's DescribeScalingActivities"):
        client("application-autoscaling").describe_scaling_activities(ServiceNamespace="sagemaker")


def test_a_server_that_was_started_again_knows_what_was_registered(tmp_path: Path, aws: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    scaling = boto3.client("application-autoscaling", endpoint_url=endpoint)
    with running("local.aws", endpoint, tmp_path):
        put(scaling, "kept", MinCapacity=1, MaxCapacity=2)
    with running("local.aws", endpoint, tmp_path):
        assert [item["MaxCapacity"] for item in targets(scaling, "kept")] == [2]
