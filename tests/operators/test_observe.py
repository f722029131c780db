"""What an operator sees of a real local AWS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loopcast.aws import client
from loopcast.clock import Clock
from operators.observe import AwsObserver, alarm_states, packages, trained_until
from operators.release import Served
from operators.release_spec import ReleaseSpec
from operators.retraining_spec import RetrainingSpec
from tests.operators.conftest import World, until

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def put(world: World, metric: str, *values: float, period: int = 60) -> None:
    """Datapoints of the stage staging, one a period, the last in the period that goes on."""
    now = datetime.now(UTC)
    dimensions = [{"Name": "Feed", "Value": world.name}, {"Name": "Stage", "Value": "staging"}]
    data: list[Any] = [
        {
            "MetricName": metric,
            "Dimensions": dimensions,
            "Value": value,
            "Timestamp": now - age * timedelta(seconds=period),
        }
        for age, value in zip(reversed(range(len(values))), values, strict=True)
    ]
    client("cloudwatch").put_metric_data(Namespace="Loopcast", MetricData=data)


def metric_policy(world: World, **threshold: Any) -> RetrainingSpec:
    metric = {
        "dimensions": {"Feed": world.name, "Stage": "staging"},
        "period": "1h",
        "threshold": threshold,
    }
    return RetrainingSpec.model_validate(
        {"feed": world.name, "triggers": {"metric": metric}, "tuning": {"whenWorseThanBaseline": True}}
    )


def observer(world: World, speed: float = 1.0) -> AwsObserver:
    return AwsObserver(world.names, Clock(speed))


def test_a_metrics_datapoints_come_in_order_with_their_period_scaled_to_the_wall(world: World) -> None:
    put(world, "QuantileLoss", 0.1, 0.2, 0.3)
    put(world, "BaselineLoss", 0.25)
    seen = observer(world, speed=60).retraining(metric_policy(world, value=1), NOON, [], "")
    assert [pytest.approx(value) for value in seen.datapoints] == [0.1, 0.2, 0.3]
    assert (seen.loss, seen.baseline_loss) == (pytest.approx(0.3), pytest.approx(0.25))
    assert seen.threshold == 1


def test_a_threshold_is_read_from_its_parameter_and_one_that_is_no_number_is_unknown(world: World) -> None:
    name = world.names.parameter("thresholds", "staging")
    policy = metric_policy(world, parameter=name)
    assert observer(world).retraining(policy, NOON, [], "").threshold is None
    for text, expected in (("0.3", 0.3), ("high", None)):
        client("ssm").put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
        assert observer(world).retraining(policy, NOON, [], "").threshold == expected


def test_alarms_that_do_not_exist_are_missing_and_composite_ones_are_seen(world: World) -> None:
    plain = world.alarm("ALARM")
    composite = f"{plain}-composite"
    client("cloudwatch").put_composite_alarm(AlarmName=composite, AlarmRule=f'ALARM("{plain}")')
    states = alarm_states([plain, composite, "nowhere"])
    assert states[plain] == "ALARM"
    assert set(states) == {plain, composite}


def test_packages_and_stages_are_seen_as_they_are(world: World) -> None:
    assert packages(world.names) == ()
    assert trained_until(world.names) is None
    arn = world.approve_package()
    [package] = packages(world.names)
    assert (package.version, package.arn, package.approved) == (1, arn, True)
    world.alarm("ALARM", "production")
    put(world, "QuantileLossRatio", 0.5, period=60)
    seen = observer(world, speed=60).release(ReleaseSpec(feed=world.name), NOON, [])
    assert seen.stages == {"staging": Served(), "production": Served()}
    assert seen.alarms[world.names.alarm("production", "degraded")] == "ALARM"
    assert seen.loss_ratio == pytest.approx(0.5)


def test_a_stage_whose_endpoint_failed_serves_nothing(world: World) -> None:
    """So that what is approved is deployed again."""
    sagemaker, name = client("sagemaker"), world.names.endpoint("staging")
    role = world.names.role_arn("sagemaker")
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "x"})
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    until(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Failed")
    seen = observer(world).release(ReleaseSpec(feed=world.name), NOON, [])
    assert seen.stages["staging"] == Served("Failed")
    sagemaker.delete_endpoint(EndpointName=name)
