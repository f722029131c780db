"""A new model takes over a stage step by step, and goes out again, with its threshold, when it proves bad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.check_approval.check_approval import approved_package
from components.deploy_endpoint.endpoint import Waiting
from components.deploy_endpoint.guardrails import Guardrails, guarding
from components.deploy_endpoint.scaling import VARIANT
from components.roll_back.roll_back import roll_back
from components.run import Refused
from components.write_threshold.write_threshold import renew_threshold
from loopcast.aws import client
from loopcast.clock import Clock
from loopcast.feed import parse_feed
from tests.components.examples import FEED_TEXT
from tests.components.stages import WAITING, Stages, stages

FEED = parse_feed(FEED_TEXT.replace("name: parcels", "name: parcels-stages"))


@pytest.fixture(scope="module")
def local(aws: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    with stages(FEED, aws, tmp_path_factory) as made:
        yield made


def test_a_canary_is_asked_before_all_traffic_is_its_own(local: Stages) -> None:
    local.deploy("canary", local.package(0.2), "c1")
    asked: list[int] = []
    rails = local.rails("canary", check=lambda times: asked.append(times) or [])
    new = local.package(0.3)
    threshold = local.deploy("canary", new, "c2", rails, Waiting(15, 60, Clock()))  # however seldom one looks
    assert asked == [rails.asks, 1]
    assert local.serves("canary") == new["ModelPackageArn"]
    assert local.threshold("canary") == pytest.approx(threshold)
    routing = local.endpoint("canary")["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (routing["Type"], routing["CanarySize"]["Value"]) == ("CANARY", 50)


def test_an_alarm_takes_a_baking_model_back_and_keeps_it_out(local: Stages) -> None:
    old, new = local.package(0.2), local.package(0.3)
    threshold = local.deploy("alarmed", old, "a1")
    local.put_alarm("alarmed", "degraded", "OK")
    rails = local.rails(
        "alarmed", bake_seconds=3600, check=lambda _: local.put_alarm("alarmed", "degraded", "ALARM") or []
    )
    with pytest.raises(Refused, match=f"alarm.*{local.names.alarm('alarmed', 'degraded')}"):
        local.deploy("alarmed", new, "a2", rails)
    assert local.serves("alarmed") == old["ModelPackageArn"]
    assert local.threshold("alarmed") == pytest.approx(threshold)
    described = local.described(new["ModelPackageArn"])
    assert described["ModelApprovalStatus"] == "Rejected"
    assert described["ApprovalDescription"].startswith("rolled back from alarmed: ")
    before = local.endpoint("alarmed")
    with pytest.raises(Refused, match=r"The run a2 was rolled back: .* under another run's id"):
        local.deploy("alarmed", new, "a2")
    assert local.endpoint("alarmed")["LastModifiedTime"] == before["LastModifiedTime"]
    with pytest.raises(Refused, match="is Rejected, not Approved"):
        approved_package(local.names, new["ModelPackageArn"], "staging")


def test_a_canary_whose_forecasts_are_unsound_never_gets_all_traffic(local: Stages) -> None:
    old, new = local.package(0.2), local.package(0.3, UNSOUND="yes")
    local.deploy("unsound", old, "u1")
    local.watch("unsound", "unsound-forecasts", "UnsoundForecasts")
    rails = local.rails("unsound", bake_seconds=3600)
    with pytest.raises(Refused, match=r"unsound-forecasts\. While it baked, .* it has no quantile 0\.9"):
        local.deploy("unsound", new, "u2", rails)
    assert local.serves("unsound") == old["ModelPackageArn"]
    assert local.described(new["ModelPackageArn"])["ModelApprovalStatus"] == "Rejected"


def test_without_an_alarm_unsound_forecasts_take_the_model_back_when_it_has_baked(local: Stages) -> None:
    old, new = local.package(0.2), local.package(0.3, UNSOUND="yes")
    local.deploy("late", old, "l1")
    with pytest.raises(Refused, match=r"it has no quantile 0\.9.* the endpoint serves what it served before"):
        local.deploy("late", new, "l2", local.rails("late", canary_percent=0))
    assert local.serves("late") == old["ModelPackageArn"]
    assert local.described(new["ModelPackageArn"])["ModelApprovalStatus"] == "Rejected"


def test_an_alarm_that_stood_before_the_deployment_does_not_take_it_back(local: Stages) -> None:
    local.put_alarm("standing", "quantile-loss", "ALARM")
    local.put_alarm("standing", "degraded", "OK")
    degraded = local.names.alarm("standing", "degraded")
    assert guarding(local.names, "standing", "") == [degraded]
    assert guarding(local.names, "standing", f"{degraded}, nowhere") == [degraded]


def test_a_rollback_brings_back_the_model_and_its_threshold_and_a_second_one_does_not_undo_it(local: Stages) -> None:
    old, bad = local.package(0.2), local.package(0.4)
    threshold = local.deploy("back", old, "b1")
    assert local.deploy("back", bad, "b2") > threshold
    outcome = roll_back(local.run("b3"), "back", "", "it degraded", WAITING)
    assert (outcome["rolled_back"], outcome["model_package_arn"]) == (bad["ModelPackageArn"], old["ModelPackageArn"])
    assert local.serves("back") == old["ModelPackageArn"]
    assert local.threshold("back") == pytest.approx(threshold)
    assert local.described(bad["ModelPackageArn"])["ApprovalDescription"] == "rolled back from back: it degraded"
    assert roll_back(local.run("b3"), "back", "", "it degraded", WAITING) == outcome
    assert roll_back(local.run("b4"), "back", bad["ModelPackageArn"], "again", WAITING)["rolled_back"] == ""
    with pytest.raises(Refused, match="nothing before"):
        roll_back(local.run("b5"), "back", "", "again", WAITING)
    assert local.serves("back") == old["ModelPackageArn"]


def test_a_rollback_passes_over_what_was_rejected(local: Stages) -> None:
    first, second, third = (local.package(loss) for loss in (0.2, 0.3, 0.4))
    thresholds = [local.deploy("over", item, f"o{number}") for number, item in enumerate((first, second, third))]
    client("sagemaker").update_model_package(
        ModelPackageArn=second["ModelPackageArn"], ModelApprovalStatus="Rejected", ApprovalDescription="a bad one"
    )
    roll_back(local.run("o4"), "over", third["ModelPackageArn"], "", WAITING)
    assert local.serves("over") == first["ModelPackageArn"]
    assert local.threshold("over") == pytest.approx(thresholds[0])


def test_a_rollback_that_was_killed_goes_on_where_it_was(local: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    old, bad = local.package(0.2), local.package(0.4)
    threshold = local.deploy("killed", old, "k1")
    local.deploy("killed", bad, "k2")
    with monkeypatch.context() as patched:
        patched.setattr("components.deploy_endpoint.memory.restore_threshold", _die)
        with pytest.raises(KeyboardInterrupt):
            roll_back(local.run("k3"), "killed", bad["ModelPackageArn"], "", WAITING)
    assert local.threshold("killed") > threshold
    assert roll_back(local.run("k3"), "killed", bad["ModelPackageArn"], "", WAITING)["rolled_back"]
    assert local.threshold("killed") == pytest.approx(threshold)
    assert local.described(bad["ModelPackageArn"])["ModelApprovalStatus"] == "Rejected"


def test_where_nothing_beats_the_champion_its_threshold_is_renewed_in_each_stage_that_it_serves(local: Stages) -> None:
    champion, challenger = local.package(0.2), local.package(0.3)
    for stage in ("staging", "production"):
        local.deploy(stage, champion, f"{stage}-1")
    limit = renew_threshold(local.names, evaluated(0.6), {"model_package_arn": ""})
    assert local.threshold("staging") == local.threshold("production") == pytest.approx(limit)

    before = local.deploy("staging", challenger, "staging-2")
    limit = renew_threshold(local.names, evaluated(0.7), {"model_package_arn": ""})
    assert (local.threshold("staging"), local.threshold("production")) == pytest.approx((before, limit))


def test_an_endpoint_scales_within_its_stages_bounds_and_keeps_its_instances_in_an_update(local: Stages) -> None:
    local.deploy("scaled", local.package(0.2), "s1")
    assert scaled(local, "scaled") is None
    set_bounds(local, "scaled", 1, 4)
    local.deploy("scaled", local.package(0.2), "s2")
    assert scaled(local, "scaled") == (1, 4, 600.0)

    name = local.names.endpoint("scaled")
    wanted = [{"VariantName": VARIANT, "DesiredInstanceCount": 3}]
    client("sagemaker").update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)
    local.deploy("scaled", local.package(0.3), "s3", local.rails("scaled"))
    assert local.endpoint("scaled")["ProductionVariants"][0]["DesiredInstanceCount"] == 3
    assert scaled(local, "scaled") == (1, 4, 600.0)


def test_other_instances_are_registered_anew_and_a_rollback_brings_back_the_old_ones(local: Stages) -> None:
    set_bounds(local, "typed", 1, 2)
    local.deploy("typed", local.package(0.2), "t1")
    first = target(local, "typed")["ScalableTargetARN"]
    local.deploy("typed", local.package(0.3), "t2", instance_type="ml.c5.large")
    second = target(local, "typed")["ScalableTargetARN"]
    roll_back(local.run("t3"), "typed", "", "it degraded", WAITING)
    assert len({first, second, target(local, "typed")["ScalableTargetARN"]}) == 3


def test_a_deployment_that_is_taken_back_leaves_the_old_instances_scaled(local: Stages) -> None:
    set_bounds(local, "kept", 1, 2)
    local.deploy("kept", local.package(0.2), "k1")
    local.put_alarm("kept", "degraded", "OK")
    rails = local.rails("kept", bake_seconds=3600, check=lambda _: local.put_alarm("kept", "degraded", "ALARM") or [])
    with pytest.raises(Refused, match="alarm"):
        local.deploy("kept", local.package(0.3), "k2", rails, instance_type="ml.c5.large")
    assert scaled(local, "kept") == (1, 2, 600.0)


def test_bounds_out_of_order_are_refused_before_anything_is_done(local: Stages) -> None:
    set_bounds(local, "wrong", 3, 2)
    with pytest.raises(Refused, match=r"min_instances \(3\) must be from 1 to max_instances \(2\)"):
        local.deploy("wrong", local.package(0.2), "w1")
    assert local.serves("wrong") is None


def set_bounds(local: Stages, stage: str, least: int, most: int) -> None:
    values = {"min_instances": least, "max_instances": most, "invocations_per_minute": 600}
    for setting, value in values.items():
        name = local.names.parameter("scaling", stage, setting)
        client("ssm").put_parameter(Name=name, Value=str(value), Type="String", Overwrite=True)


def target(local: Stages, stage: str) -> dict[str, Any]:
    """The stage's scalable target; {} where there is none."""
    asked = [f"endpoint/{local.names.endpoint(stage)}/variant/{VARIANT}"]
    scaling = client("application-autoscaling")
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=asked)["ScalableTargets"]
    return dict(found[0]) if found else {}


def scaled(local: Stages, stage: str) -> tuple[int, int, float] | None:
    """The least and the most instances of the stage, and what its policy aims at; None where it isn't scaled."""
    found = target(local, stage)
    if not found:
        return None
    scaling, resource = client("application-autoscaling"), found["ResourceId"]
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)["ScalingPolicies"]
    tracked = policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]
    return found["MinCapacity"], found["MaxCapacity"], tracked


def evaluated(loss: float) -> dict[str, Any]:
    """An evaluation in which the champion had this loss in each of 8 windows."""
    return {"champion": "production", "scores": {"production": {"loss": loss, "window_losses": [loss] * 8}}}


def _die(*_: object) -> None:
    raise KeyboardInterrupt


@given(st.integers(0, 50), st.floats(0, 10_000), st.floats(0, 50_000))
def test_guardrails_are_what_sagemaker_takes(percent: int, bake: float, limit: float) -> None:
    rails = Guardrails(percent, bake)
    policy = rails.deployment(limit)["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    assert 0 <= routing["WaitIntervalInSeconds"] <= 3600
    assert rails.seconds < policy["MaximumExecutionTimeoutInSeconds"] <= 28_800
    assert policy["MaximumExecutionTimeoutInSeconds"] >= 600
    assert ("CanarySize" in routing) is (percent > 0)


@given(st.integers(1, 50))
def test_so_many_requests_seldom_miss_the_canary(percent: int) -> None:
    asks = Guardrails(percent).asks
    assert (1 - percent / 100) ** asks <= 0.05 < (1 - percent / 100) ** (asks - 1)


@pytest.mark.parametrize("percent", [-1, 51, 100])
def test_a_canary_is_at_most_half(percent: int) -> None:
    with pytest.raises(Refused, match=f"canary_percent must be from 0 to 50, not {percent}"):
        Guardrails(percent)
