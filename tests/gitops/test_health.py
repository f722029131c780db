"""Health checks, run on what controllers really write: our operator's statuses come from its own decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from operators.engine import Outcome
from operators.policies import conditions
from operators.release import Package, ReleaseObserved, ReleaseStatus, Served, StageStatus
from operators.release import decide as decide_release
from operators.release_spec import ReleaseSpec
from operators.retraining import ALARM, OK, Observed, RetrainingStatus
from operators.retraining import decide as decide_retraining
from operators.retraining_spec import RetrainingSpec
from operators.runs import Decision, Run, RunState
from tests.gitops.argo import ARGOCD, CHECKOUT
from tests.gitops.lua import health

CHECKS = CHECKOUT / ARGOCD / "health"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEGRADED = ("loopcast-fees-staging-degraded", "loopcast-fees-production-degraded")


def resource(spec: Any, decision: Decision, status: Any, generation: int = 3) -> dict[str, Any]:
    """A policy as the operator leaves it in the cluster."""
    said = conditions([], generation, Outcome(decision, status, NOON), NOON, decision.reason, decision.message)
    shown = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": {"name": "fees", "generation": generation},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "status": {**shown, "observedGeneration": generation, "conditions": said},
    }


def retraining(runs: tuple[Run, ...] = (), alarm: str = OK, **fields: Any) -> dict[str, Any]:
    spec = RetrainingSpec.model_validate({"feed": "fees", "triggers": {"alarms": ["a"]}, **fields})
    alarms = {"a": alarm} if alarm else {}
    decision, status = decide_retraining(spec, RetrainingStatus(), Observed(now=NOON, runs=runs, alarms=alarms))
    return resource(spec, decision, status)


def release(staging: int, production: int, status: ReleaseStatus | None = None, **given: Any) -> dict[str, Any]:
    spec = ReleaseSpec.model_validate({"feed": "fees", "production": given.pop("wanted", {})})
    served = {"staging": Served("InService", staging, True), "production": Served("InService", production, True)}
    packages = tuple(Package(version, f"arn:{version}", approved=True) for version in range(1, staging + 1))
    known = {"packages": packages, "stages": served, "alarms": dict.fromkeys(DEGRADED, OK), **given}
    decision, after = decide_release(spec, status or ReleaseStatus(), ReleaseObserved(now=NOON, **known))
    return resource(spec, decision, after)


def run(state: RunState, pipeline: str = "build", trigger: str = "AlarmStanding", **fields: Any) -> Run:
    ended = NOON - HOUR / 2 if state.over else None
    return Run(1, pipeline, trigger, NOON - HOUR, state, ended, id="fees-retrain-1-x", **fields)


@pytest.mark.parametrize(
    ("policy", "status", "said"),
    [
        (retraining(), "Healthy", "NothingDue: No trigger stands."),
        (retraining((run(RunState.RUNNING),)), "Healthy", "RunInProgress: fees-retrain-1-x is running."),
        (retraining((run(RunState.SUCCEEDED),), ALARM), "Healthy", "CoolingDown"),
        (
            retraining((run(RunState.FAILED, message="no minutes"),), ALARM),
            "Degraded",
            "failed: no minutes CoolingDown",
        ),
        (retraining((run(RunState.CANCELED),)), "Degraded", "fees-retrain-1-x failed"),
        (retraining(alarm=""), "Degraded", "AlarmUnknown"),
        (retraining(suspend=True), "Suspended", "Suspended: The policy is suspended"),
        (retraining(alarm=ALARM, dryRun=True), "Healthy", "DryRun"),
    ],
)
def test_a_retraining_policy_is_healthy_while_it_is_followed_and_its_newest_run_did_not_fail(
    policy: dict[str, Any], status: str, said: str
) -> None:
    found, message = health(CHECKS / "retraining-policy.lua", policy)
    assert (found, said in message) == (status, True), message


SEVEN = {"approvedVersion": 7}
BAKED = ReleaseStatus(
    staging=StageStatus(version=7, since=NOON - 24 * HOUR, quiet_since=NOON - 24 * HOUR), approved_version=7
)
TAGS = {"stage": "production", "version": "7", "approved": "7"}


@pytest.mark.parametrize(
    ("policy", "status", "said"),
    [
        (release(7, 6), "Healthy", "NotApproved: Production waits for spec.production.approvedVersion."),
        (release(7, 6, wanted=SEVEN), "Progressing", "Version 7 is approved, and production serves 6. Baking"),
        (release(6, 6, wanted=SEVEN), "Progressing", "Version 7 is approved, and production serves 6."),
        (release(7, 6, BAKED, wanted=SEVEN), "Progressing", "production serves 6. Promoted"),
        (release(7, 7, BAKED, wanted=SEVEN), "Healthy", "UpToDate: Production serves version 7."),
        (
            release(7, 6, BAKED, wanted=SEVEN, runs=(run(RunState.FAILED, "deploy", "Promoted", tags=TAGS),)),
            "Degraded",
            "failed",
        ),
        (
            release(7, 6, BAKED, wanted=SEVEN, runs=(run(RunState.SUCCEEDED, "rollback", "RollBack", tags=TAGS),)),
            "Degraded",
            "The approved version 7 was rolled back.",
        ),
        (release(8, 7, wanted={"automatic": {}}), "Healthy", "Baking"),
        (release(1, 0, alarms={}, stages={}), "Degraded", "StageUnknown"),
    ],
)
def test_a_release_policy_is_healthy_once_production_serves_what_git_says(
    policy: dict[str, Any], status: str, said: str
) -> None:
    found, message = health(CHECKS / "release-policy.lua", policy)
    assert (found, said in message) == (status, True), message


def test_an_alarm_over_what_production_serves_is_degraded_while_it_is_rolled_back() -> None:
    served = StageStatus(version=7, since=NOON - HOUR, quiet_since=NOON - HOUR)
    before = ReleaseStatus(staging=served, production=served, approved_version=7)
    firing = {DEGRADED[0]: OK, DEGRADED[1]: ALARM}
    found, message = health(CHECKS / "release-policy.lua", release(7, 7, before, wanted=SEVEN, alarms=firing))
    assert found == "Degraded"
    assert "RollBack" in message


@pytest.mark.parametrize("check", ["retraining-policy.lua", "release-policy.lua"])
def test_a_policy_that_the_operator_has_not_looked_at_makes_no_claim(check: str) -> None:
    changed = release(7, 7, BAKED, wanted=SEVEN)
    changed["metadata"]["generation"] = 4
    for policy in ({"metadata": {"generation": 1}, "spec": {}}, changed):
        assert health(CHECKS / check, policy) == ("Progressing", "The operator has not looked at it yet.")


@pytest.mark.parametrize("check", ["retraining-policy.lua", "release-policy.lua"])
def test_a_policy_that_can_not_be_used_is_degraded_with_the_reason(check: str) -> None:
    said = conditions([], 1, None, NOON, "InvalidSpec", "spec.cooldown: must be longer than 0")
    policy = {"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1, "conditions": said}}
    assert health(CHECKS / check, policy) == ("Degraded", "InvalidSpec: spec.cooldown: must be longer than 0")


def ack(*stands: tuple[str, str, str]) -> dict[str, Any]:
    """A resource of ACK with conditions of (type, status, message)."""
    said = [{"type": f"ACK.{of}", "status": status, "message": message} for of, status, message in stands]
    return {"kind": "Stream", "spec": {"name": "s"}, "status": {"conditions": said}}


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ({"kind": "Stream", "spec": {}}, "Progressing", "Waits for the controller."),
        (ack(("ResourceSynced", "False", "stream is CREATING")), "Progressing", "stream is CREATING"),
        (ack(("ResourceSynced", "True", "")), "Healthy", ""),
        (ack(("LateInitialized", "True", ""), ("ResourceSynced", "True", "")), "Healthy", ""),
        (
            ack(("Terminal", "True", "ValidationException: 0 shards"), ("ResourceSynced", "True", "")),
            "Degraded",
            "Not before its manifest changes: ValidationException: 0 shards",
        ),
        (
            ack(("Recoverable", "True", "AccessDenied: PutRule"), ("ResourceSynced", "False", "")),
            "Progressing",
            "Tried again: AccessDenied: PutRule",
        ),
        (ack(("Recoverable", "False", ""), ("Terminal", "False", ""), ("ResourceSynced", "True", "")), "Healthy", ""),
        (
            ack(("ReferencesResolved", "Unknown", "role not found"), ("ResourceSynced", "Unknown", "")),
            "Progressing",
            "Waits for what it refers to. role not found",
        ),
        (ack(("ReferencesResolved", "True", ""), ("ResourceSynced", "True", "")), "Healthy", ""),
        ({"kind": "Queue", "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Healthy", ""),
    ],
)
def test_a_resource_of_ack_is_healthy_when_it_is_synced_and_degraded_when_it_can_never_be(
    found: dict[str, Any], status: str, said: str
) -> None:
    assert health(CHECKS / "ack.lua", found) == (status, said)


def flink(cycle: str, job: str, state: str = "running", **status: Any) -> dict[str, Any]:
    shown = {"lifecycleState": cycle, "jobStatus": {"state": job}, "jobManagerDeploymentStatus": "READY", **status}
    return {"metadata": {"generation": 2}, "spec": {"job": {"state": state}}, "status": shown}


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({"metadata": {"generation": 1}, "spec": {"job": {"state": "running"}}}, "Progressing"),
        (flink("DEPLOYED", "RECONCILING", jobManagerDeploymentStatus="DEPLOYING"), "Progressing"),
        (flink("DEPLOYED", "RUNNING"), "Progressing"),
        (flink("STABLE", "RUNNING"), "Healthy"),
        (flink("STABLE", "RUNNING", observedGeneration=2), "Healthy"),
        (flink("STABLE", "RUNNING", observedGeneration=1), "Progressing"),
        (flink("STABLE", "RESTARTING"), "Progressing"),
        (flink("UPGRADING", "FINISHED"), "Progressing"),
        (flink("STABLE", "FAILED"), "Degraded"),
        (flink("FAILED", "RECONCILING", error="no savepoint"), "Degraded"),
        (flink("DEPLOYED", "RECONCILING", jobManagerDeploymentStatus="ERROR"), "Degraded"),
        (flink("ROLLED_BACK", "RUNNING"), "Degraded"),
        (flink("SUSPENDED", "FINISHED", state="suspended"), "Suspended"),
    ],
)
def test_a_flink_deployment_is_healthy_when_its_job_runs_and_is_stable(found: dict[str, Any], status: str) -> None:
    assert health(CHECKS / "flink-deployment.lua", found)[0] == status


def version(status: str, reason: str, message: str = "") -> dict[str, Any]:
    said = {"type": "PipelineVersionStatus", "status": status, "reason": reason, "message": message}
    return {"kind": "PipelineVersion", "spec": {}, "status": {"conditions": [said]}}


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ({"kind": "Pipeline", "spec": {}}, "Healthy", ""),
        ({"kind": "PipelineVersion", "spec": {}, "status": {}}, "Healthy", ""),
        (version("True", "READY"), "Healthy", ""),
        (version("Unknown", "CREATING"), "Progressing", "CREATING "),
        (version("False", "INVALID", "no root"), "Degraded", "INVALID no root"),
    ],
)
def test_a_pipeline_is_healthy_unless_kubeflow_says_otherwise(found: dict[str, Any], status: str, said: str) -> None:
    assert health(CHECKS / "pipeline.lua", found) == (status, said)


def test_an_application_has_its_own_health_unless_nobody_waits_for_it() -> None:
    def application(**found: Any) -> tuple[str, str]:
        return health(CHECKS / "application.lua", {"kind": "Application", **found})

    degraded = {"health": {"status": "Degraded", "message": "why"}}
    assert application(metadata={}) == ("Progressing", "")
    assert application(metadata={}, status=degraded) == ("Degraded", "why")
    alone = {"annotations": {"argocd.argoproj.io/ignore-healthcheck": "true"}}
    assert application(metadata=alone, status=degraded)[0] == "Healthy"


def test_every_kind_that_argo_cd_does_not_know_has_a_check() -> None:
    wanted = {"argoproj.io_Application", "flink.apache.org_FlinkDeployment"}
    wanted |= {f"pipelines.kubeflow.org_{kind}" for kind in ("Pipeline", "PipelineVersion")}
    wanted |= {f"loopcast.io_{kind}" for kind in ("RetrainingPolicy", "ReleasePolicy")}
    for path in sorted((CHECKOUT / "manifests" / "aws").glob("*.yaml")):
        for found in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            if found and ".services.k8s.aws/" in found["apiVersion"]:
                wanted.add(f"{found['apiVersion'].partition('/')[0]}_{found['kind']}")
    text = (CHECKS / "kustomization.yaml").read_text(encoding="utf-8")
    files = yaml.safe_load(text)["configMapGenerator"][0]["files"]
    keys = dict(line.removeprefix("resource.customizations.health.").split("=") for line in files)
    assert sorted(keys) == sorted(wanted)
    assert {path.name for path in CHECKS.glob("*.lua")} == set(keys.values())
