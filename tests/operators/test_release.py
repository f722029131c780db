"""Which version goes into service or out of it, as sentences about one decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from operators.release import Package, ReleaseObserved, ReleaseStatus, Served, StageStatus, decide, monitors
from operators.release_spec import ReleaseSpec
from operators.retraining import ALARM, OK
from operators.runs import Decision, Run, RunState

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
FRESH = ReleaseStatus()
QUIET = {"loopcast-fees-staging-degraded": OK, "loopcast-fees-production-degraded": OK}
STAGING_FIRES = QUIET | {"loopcast-fees-staging-degraded": ALARM}
PRODUCTION_FIRES = QUIET | {"loopcast-fees-production-degraded": ALARM}
THREE = tuple(Package(version, f"arn:{version}", approved=version != 2) for version in (1, 2, 3))


def spec(**fields: Any) -> ReleaseSpec:
    return ReleaseSpec.model_validate({"feed": "fees", **fields})


def serving(staging: int = 0, production: int = 0) -> dict[str, Served]:
    return {
        "staging": Served("InService", staging, has_previous=True) if staging else Served(),
        "production": Served("InService", production, has_previous=True) if production else Served(),
    }


def run(trigger: str, stage: str, version: int, ago: timedelta, **fields: Any) -> Run:
    """A run of so long before noon that took half an hour and succeeded, unless `fields` say otherwise."""
    tags = {"stage": stage, "version": str(version), "approved": fields.pop("approved", "")}
    ended = NOON - ago + HOUR / 2
    known = {"state": RunState.SUCCEEDED, "finished_at": ended, "sequence": 1, "tags": tags, "id": "fees-1"}
    pipeline = "rollback" if trigger == "RollBack" else "deploy"
    return Run(pipeline=pipeline, trigger=trigger, launched_at=NOON - ago, **(known | fields))


def look(policy: ReleaseSpec, status: ReleaseStatus = FRESH, **observed: Any) -> tuple[Decision, ReleaseStatus]:
    known = {"now": NOON, "packages": THREE, "stages": serving(), "alarms": QUIET}
    return decide(policy, status, ReleaseObserved(**(known | observed)))


def baked(staging: int, **more: Any) -> ReleaseStatus:
    """Staging has served the version for a day, without an alarm."""
    day_ago = NOON - timedelta(days=1)
    return ReleaseStatus(staging=StageStatus(version=staging, since=day_ago, quiet_since=day_ago), **more)


def test_the_newest_approved_version_goes_to_staging() -> None:
    decision, _ = look(spec(staging={"arguments": {"instance_type": "ml.m5.large"}}))
    assert decision.launch is not None
    assert (decision.reason, decision.launch.pipeline) == ("Approved", "deploy")
    assert decision.launch.arguments == {
        "stage": "staging",
        "model_package_arn": "arn:3",
        "instance_type": "ml.m5.large",
    }
    assert decision.message == "Version 3 is approved: it goes to staging."


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        ({"stages": serving(staging=3)}, "NotApproved"),
        ({"stages": serving(staging=4)}, "NotApproved"),
        ({"packages": ()}, "NothingApproved"),
        ({"packages": (Package(1, "arn:1", approved=False),)}, "NothingApproved"),
        ({"stages": {}}, "StageUnknown"),
    ],
)
def test_nothing_is_deployed_without_need_or_knowledge(observed: dict[str, Any], reason: str) -> None:
    decision, _ = look(spec(), **observed)
    assert (decision.reason, decision.launch) == (reason, None)


def test_production_takes_what_git_approves_once_it_has_baked_in_staging() -> None:
    policy, stages = spec(production={"approvedVersion": 3}), serving(staging=3, production=1)
    early, status = look(policy, stages=stages)
    assert early.reason == "Baking"
    assert status.production.message == "Version 3 bakes in staging until 2026-11-21T18:00:00Z."
    late, _ = look(policy, status, stages=stages, now=NOON + 6 * HOUR)
    assert late.launch is not None
    assert late.launch.arguments == {"stage": "production", "model_package_arn": "arn:3"}
    standing, _ = look(policy, baked(3), stages=stages, alarms=STAGING_FIRES)
    assert standing.reason == "StagingAlarm"


@pytest.mark.parametrize(
    ("version", "reason"), [(1, "NotInStaging"), (2, "PackageNotApproved"), (9, "PackageNotApproved")]
)
def test_production_takes_nothing_else(version: int, reason: str) -> None:
    policy = spec(production={"approvedVersion": version})
    decision, _ = look(policy, baked(3), stages=serving(staging=3))
    assert (decision.reason, decision.launch) == (reason, None)


def test_production_takes_versions_by_itself_where_the_policy_says_when() -> None:
    policy, stages = spec(production={"automatic": {"minTimeInStaging": "12h"}}), serving(3, 1)
    promoted, _ = look(policy, baked(3), stages=stages, loss_ratio=0.8)
    assert promoted.launch is not None
    assert promoted.launch.tags["version"] == "3"
    assert look(policy, baked(3), stages=stages, loss_ratio=1.0)[0].reason == "LossTooHigh"
    assert look(policy, baked(3), stages=stages)[0].reason == "LossUnknown"
    assert look(policy, FRESH, stages=stages, loss_ratio=0.8)[0].reason == "Baking"


def test_a_version_on_its_way_to_production_is_not_overtaken_in_staging_unless_an_alarm_stands() -> None:
    policy, stages = spec(production={"automatic": {}}), serving(staging=1)
    assert look(policy, stages=stages)[0].reason == "StagingBakes"
    standing, _ = look(policy, baked(1), stages=stages, alarms=STAGING_FIRES)
    assert standing.launch is not None
    assert look(spec(), stages=stages)[0].launch is not None


def after_quiet(policy: ReleaseSpec, stages: dict[str, Served], runs: list[Run]) -> ReleaseStatus:
    return look(policy, stages=stages, runs=runs)[1]


@pytest.mark.parametrize(("stage", "alarms"), [("staging", STAGING_FIRES), ("production", PRODUCTION_FIRES)])
def test_an_alarm_that_fires_in_the_bake_time_rolls_the_stage_back(stage: str, alarms: dict[str, str]) -> None:
    stages, runs = serving(3, 3), [run("Approved", stage, 3, HOUR)]
    status = after_quiet(spec(), stages, runs)
    decision, _ = look(spec(), status, stages=stages, runs=runs, alarms=alarms, now=NOON + HOUR)
    assert decision.launch is not None
    assert (decision.reason, decision.launch.pipeline) == ("RollBack", "rollback")
    assert decision.launch.arguments == {
        "stage": stage,
        "model_package_arn": "arn:3",
        "reason": f"The alarm loopcast-fees-{stage}-degraded fired.",
    }
    late, _ = look(spec(), status, stages=stages, runs=runs, alarms=alarms, now=NOON + 6 * HOUR)
    assert late.reason != "RollBack"


def test_an_alarm_that_stood_before_speaks_against_a_version_only_where_the_policy_says_from_when() -> None:
    stages, runs = serving(3), [run("Approved", "staging", 3, HOUR)]
    for policy, expected in ((spec(), "AlarmSettling"), (spec(staging={"settleTime": "3h"}), "RollBack")):
        before, status = look(policy, stages=stages, runs=runs, alarms=STAGING_FIRES)
        assert before.reason == "AlarmSettling"
        still, _ = look(policy, status, stages=stages, runs=runs, alarms=STAGING_FIRES, now=NOON + 3 * HOUR)
        assert still.reason == expected


def test_there_is_no_way_back_from_a_first_version_or_from_what_a_roll_back_brought() -> None:
    first = {"staging": Served("InService", 3, has_previous=False), "production": Served()}
    runs = [run("Approved", "staging", 3, 5 * HOUR)]
    _, quiet = look(spec(), stages=first, runs=runs)
    assert look(spec(), quiet, stages=first, runs=runs, alarms=STAGING_FIRES)[0].reason == "NothingBefore"
    back = [*runs, run("RollBack", "staging", 3, HOUR, sequence=2)]
    since = NOON - 4 * HOUR
    status = ReleaseStatus(staging=StageStatus(version=1, since=since, quiet_since=since))
    decision, _ = look(spec(), status, stages=serving(1), runs=back, alarms=STAGING_FIRES)
    assert decision.launch is None


def test_what_can_not_go_back_goes_forward_to_a_newer_approved_version() -> None:
    first = {"staging": Served("InService", 1), "production": Served()}
    runs = [run("Approved", "staging", 1, HOUR)]
    for status in (after_quiet(spec(), first, runs), FRESH):
        decision, _ = look(spec(), status, stages=first, runs=runs, alarms=STAGING_FIRES)
        assert decision.launch is not None
        assert decision.launch.tags["version"] == "3"


def test_a_version_that_a_roll_back_brought_back_bakes_anew() -> None:
    policy = spec(production={"automatic": {}})
    runs = [run("Approved", "staging", 1, 48 * HOUR), run("RollBack", "staging", 3, HOUR)]
    decision, _ = look(policy, baked(1), stages=serving(staging=1), runs=runs, packages=THREE[:1], loss_ratio=0.5)
    assert decision.reason == "Baking"


def test_a_version_that_was_rolled_back_stays_refused_until_the_approved_version_changes() -> None:
    pinned = spec(production={"approvedVersion": 3})
    runs = [run("RollBack", "production", 3, HOUR, approved="3")]
    stages = serving(staging=3, production=1)
    refused, status = look(pinned, baked(3), stages=stages, runs=runs)
    assert (refused.reason, status.refused_versions) == ("Refused", (3,))
    for _ in range(3):
        refused, status = look(pinned, status, stages=stages, runs=runs)
        assert refused.reason == "Refused"
    _, elsewhere = look(spec(production={"approvedVersion": 1}), status, stages=stages, runs=runs)
    assert elsewhere.refused_versions == ()
    again, _ = look(pinned, elsewhere, stages=stages, runs=runs)
    assert again.reason == "Promoted"


def test_a_refusal_survives_a_lost_status() -> None:
    runs = [run("RollBack", "staging", 3, HOUR)]
    assert look(spec(), FRESH, stages=serving(1), runs=runs)[0].reason == "Refused"


def test_a_deployment_that_failed_is_tried_again_after_its_back_off_and_a_newer_version_at_once() -> None:
    runs = [run("Approved", "staging", 3, HOUR, state=RunState.FAILED)]
    policy = spec(retry={"backoff": "1h", "jitter": 0})
    held, _ = look(policy, runs=runs)
    assert held.reason == "BackingOff"
    assert held.message.endswith("It has failed once. It is tried again 2026-11-21T12:30:00Z.")
    told = [replace(runs[0], message="The step check-endpoint failed: no answer.")]
    held, status = look(policy, runs=told)
    assert "It has failed once: The step check-endpoint failed: no answer. It is" in held.message
    assert status.last_run is not None
    assert status.last_run.message == told[0].message
    assert look(policy, runs=runs, now=NOON + HOUR)[0].launch is not None
    newer = (*THREE, Package(4, "arn:4", approved=True))
    assert look(policy, runs=runs, packages=newer)[0].launch is not None


@pytest.mark.parametrize(
    ("stage", "policy"), [("staging", {}), ("production", {"approvedVersion": 3}), ("production", {"automatic": {}})]
)
def test_a_deployment_that_broke_off_when_the_endpoint_already_served_is_finished(
    stage: str, policy: dict[str, Any]
) -> None:
    """Else the stage would have no threshold, or another model's, and its alarm would never fire."""
    broken = run("Approved" if stage == "staging" else "Promoted", stage, 3, HOUR, state=RunState.CANCELED)
    pinned, known = spec(production=policy), {"stages": serving(3, 3), "runs": [broken]}
    assert look(pinned, **known)[0].reason == "BackingOff"
    again, _ = look(pinned, **known, now=NOON + HOUR)
    assert again.launch is not None
    assert again.launch.tags == broken.tags | {"approved": str(policy.get("approvedVersion", ""))}
    done = run("Approved", stage, 3, -2 * HOUR, sequence=2)
    assert look(pinned, stages=serving(3, 3), runs=[broken, done], now=NOON + 3 * HOUR)[0].launch is None


def test_one_release_at_a_time_and_none_when_suspended_or_in_a_dry_run() -> None:
    running = [run("Approved", "staging", 3, HOUR, state=RunState.RUNNING, finished_at=None)]
    assert look(spec(), runs=running)[0].reason == "RunInProgress"
    assert look(spec(runTimeout="30m"), runs=running)[0].reason == "TimedOut"
    assert look(spec(suspend=True))[0].reason == "Suspended"
    dry, _ = look(spec(dryRun=True))
    assert (dry.reason, dry.launch) == ("DryRun", None)


def test_a_stage_is_monitored_from_when_it_serves_until_it_is_gone() -> None:
    stages = {"staging": Served("InService", 3), "production": Served()}
    assert monitors(spec(), ReleaseObserved(NOON, stages=stages)) == (["staging"], ["production"])
    updating = {"staging": Served("Updating", 3), "production": Served("Creating", 3)}
    assert monitors(spec(), ReleaseObserved(NOON, stages=updating)) == ([], [])
    assert monitors(spec(), ReleaseObserved(NOON)) == ([], [])


def test_a_policy_names_either_the_approved_version_or_the_rule() -> None:
    with pytest.raises(ValidationError, match="not both"):
        spec(production={"approvedVersion": 3, "automatic": {}})
