"""Decides which version of a model goes into service or out of it now. Pure, as `operators.retraining` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operators.models import Moment, Status, iso
from operators.release_spec import STAGES, ReleaseSpec
from operators.retraining import ALARM
from operators.runs import (
    Anchor,
    Decision,
    LastRun,
    Launch,
    Run,
    RunState,
    anchored,
    back_off,
    failures,
    in_hand,
    last_run,
    on_clock,
    why,
)

_AWAY = {"", "Deleting", "Failed"}


@dataclass(frozen=True)
class Package:
    """A version of the feed's model in the registry."""

    version: int
    arn: str
    approved: bool


@dataclass(frozen=True)
class Served:
    """A stage's endpoint: its status ('' when there is none) and the version it serves (0: none of the registry's)."""

    status: str = ""
    version: int = 0
    has_previous: bool = False

    @property
    def in_service(self) -> bool:
        return self.status == "InService"


@dataclass(frozen=True)
class ReleaseObserved:
    """What is known at the event time `now`; what could not be learnt is missing or None.

    `loss_ratio` is staging's loss over its threshold; the rest as in `operators.retraining.Observed`.
    """

    now: datetime
    runs: Sequence[Run] = ()
    packages: Sequence[Package] = ()
    stages: Mapping[str, Served] = field(default_factory=dict)
    alarms: Mapping[str, str] = field(default_factory=dict)
    loss_ratio: float | None = None


class StageStatus(Status):
    """What a stage serves since when, whether its alarms have been quiet since then, and what it waits for."""

    version: int = 0
    since: Moment | None = None
    quiet_since: Moment | None = None
    endpoint: str = ""
    message: str = ""


class ReleaseStatus(Status):
    """What a ReleasePolicy shows, and the little that it remembers."""

    state: str = ""
    reason: str = ""
    message: str = ""
    anchor: Anchor | None = None
    staging: StageStatus = StageStatus()
    production: StageStatus = StageStatus()
    approved_version: int | None = None
    forgiven: int = 0
    refused_versions: tuple[int, ...] = ()
    last_run: LastRun | None = None


@dataclass(frozen=True)
class World:
    """Everything one decision is made from."""

    spec: ReleaseSpec
    status: ReleaseStatus
    seen: ReleaseObserved

    def stage(self, name: str) -> StageStatus:
        return self.status.production if name == "production" else self.status.staging

    def standing(self, stage: str) -> list[str]:
        return [name for name in self.spec.alarms(stage) if self.seen.alarms.get(name) == ALARM]

    def in_service_for(self, stage: str) -> timedelta:
        return self.seen.now - (self.stage(stage).since or self.seen.now)


def decide(spec: ReleaseSpec, status: ReleaseStatus, observed: ReleaseObserved) -> tuple[Decision, ReleaseStatus]:
    """What to do now, and the status that says so."""
    anchor = anchored(status.anchor, observed.runs, observed.now)
    observed = replace(observed, runs=on_clock(observed.runs, observed.now, anchor))
    status = _remembered(spec, status, observed)
    world = World(spec, status.model_copy(update={"anchor": anchor}), observed)
    wishes = {stage: _wish(world, stage) for stage in STAGES}
    decision = _decision(world, wishes)
    stages = {stage: world.stage(stage).model_copy(update={"message": wish.message}) for stage, wish in wishes.items()}
    shown = {"state": _state(decision, observed.runs), "reason": decision.reason, "message": decision.message}
    return decision, world.status.model_copy(update=shown | stages)


def monitors(spec: ReleaseSpec, observed: ReleaseObserved) -> tuple[list[str], list[str]]:
    """The stages that are to be monitored, and those that are not any more; what is unknown is left as it is."""
    known = {} if spec.suspend or spec.dry_run else observed.stages
    return (
        [stage for stage, served in known.items() if served.in_service],
        [stage for stage, served in known.items() if served.status in _AWAY],
    )


def _remembered(spec: ReleaseSpec, status: ReleaseStatus, seen: ReleaseObserved) -> ReleaseStatus:
    newest, approved = (seen.runs[-1].sequence if seen.runs else 0), spec.production.approved_version
    changed = status.last_run is not None and status.approved_version != approved
    status = status.model_copy(
        update={
            "approved_version": approved,
            "forgiven": newest if changed else min(status.forgiven, newest),
            "last_run": last_run(seen.runs),
        }
    )
    world = World(spec, status, seen)
    stages = {stage: _stage_status(world, stage) for stage in STAGES}
    return status.model_copy(update={"refused_versions": tuple(sorted(_refused(world))), **stages})


def _stage_status(world: World, stage: str) -> StageStatus:
    before, served = world.stage(stage), world.seen.stages.get(stage)
    if served is None:
        return before
    same = before.version == served.version
    since = _deployed(world.seen.runs, stage, served.version) or (before.since if same else None) or world.seen.now
    since = min(since, world.seen.now)
    known = all(name in world.seen.alarms for name in world.spec.alarms(stage))
    quiet = before.quiet_since if same and since == before.since else None
    if quiet is None and known and not world.standing(stage):
        quiet = world.seen.now
    return StageStatus(
        version=served.version,
        since=since if served.version else None,
        quiet_since=quiet,
        endpoint=served.status or "None",
    )


def _deployed(runs: Sequence[Run], stage: str, version: int) -> datetime | None:
    """When the newest deployment of the version to the stage was over, or the roll-back that brought it back."""
    done = [run for run in runs if run.state is RunState.SUCCEEDED and run.tags.get("stage") == stage]
    back = next((run.finished_at for run in reversed(done) if run.trigger == "RollBack"), None)
    there = [run for run in done if run.trigger != "RollBack" and run.tags.get("version") == str(version)]
    deployed = there[-1].finished_at if there else None
    return max(deployed, back) if deployed and back else deployed


def _refused(world: World) -> set[int]:
    """Versions that were rolled back, and that stay out until the approved version changes."""
    approved = str(world.spec.production.approved_version or "")
    refused = set()
    for run in reversed(world.seen.runs):
        if run.tags.get("approved", approved) != approved:
            break
        if run.trigger == "RollBack" and run.sequence > world.status.forgiven:
            refused.add(int(run.tags["version"]))
    return refused


@dataclass(frozen=True)
class Wish:
    """What one stage wants: a launch, or a reason for none."""

    reason: str
    message: str
    launch: Launch | None = None


def _wish(world: World, stage: str) -> Wish:
    if stage not in world.seen.stages:
        return Wish("StageUnknown", f"What {stage} serves can't be read.")
    back = _roll_back(world, stage)
    if back and back.launch:
        return _waited_out(world, back)
    forward = _production(world) if stage == "production" else _staging(world)
    # What can't go back may go forward: a newer version mends what an alarm stands against.
    return _waited_out(world, forward if forward.launch or back is None else back)


def _roll_back(world: World, stage: str) -> Wish | None:
    """Back to what served before, when an alarm fires in the bake time."""
    served, standing, known = world.seen.stages[stage], world.standing(stage), world.stage(stage)
    lasted, rule = world.in_service_for(stage), world.spec.stage(stage)
    if not served.version or not standing or lasted >= rule.bake_time:
        return None
    settled = rule.settle_time is not None and lasted >= rule.settle_time
    if known.quiet_since is None and not settled:  # what it stood against before is no better
        return Wish(
            "AlarmSettling", f"The alarm {standing[0]} stood before version {served.version} came into service."
        )
    if not served.has_previous or _brought_back(world, stage):
        return Wish("NothingBefore", f"The alarm {standing[0]} stands, and {stage} has nothing to go back to.")
    message = f"The alarm {standing[0]} fired while {stage} baked version {served.version}: it is rolled back."
    arns = {package.version: package.arn for package in world.seen.packages}
    arguments = {"model_package_arn": arns.get(served.version, ""), "reason": f"The alarm {standing[0]} fired."}
    return _launch(world, "RollBack", "rollback", stage, served.version, message, arguments)


def _brought_back(world: World, stage: str) -> bool:
    """Whether the newest change to the stage was a roll-back: what it brought back is not rolled back in its turn."""
    done = [run for run in world.seen.runs if run.tags.get("stage") == stage and run.state is RunState.SUCCEEDED]
    return bool(done) and done[-1].trigger == "RollBack"


def _staging(world: World) -> Wish:
    approved = [package for package in world.seen.packages if package.approved]
    newest = max(approved, key=lambda package: package.version, default=None)
    serves = world.seen.stages["staging"].version
    if newest is None:
        return Wish("NothingApproved", "No model package is approved.")
    if newest.version < serves or _settled(world, "staging", newest.version):
        return Wish("UpToDate", f"Staging serves version {serves}.")
    if newest.version in world.status.refused_versions:
        return Wish("Refused", f"Version {newest.version} was rolled back: it stays out until approvedVersion changes.")
    if 0 < serves < newest.version and _bakes_for_production(world, serves):
        return Wish("StagingBakes", f"Version {newest.version} waits until version {serves} has baked for production.")
    message = f"Version {newest.version} is approved: it goes to staging."
    return _launch(world, "Approved", "deploy", "staging", newest.version, message, {"model_package_arn": newest.arn})


def _settled(world: World, stage: str, version: int) -> bool:
    """Whether the stage serves the version, and its newest deployment there did not fail: one that was broken off may
    have left the endpoint without its threshold, so that no alarm would ever fire."""
    if world.seen.stages[stage].version != version:
        return False
    tags = {"stage": stage, "version": str(version)}.items()
    runs = [run for run in world.seen.runs if run.trigger != "RollBack" and tags <= run.tags.items()]
    return not runs or not runs[-1].state.failed


def _bakes_for_production(world: World, version: int) -> bool:
    """Whether staging's version is on its way to production by the automatic rule: newer ones then wait, or none
    would ever come so far."""
    rule = world.spec.production.automatic
    if rule is None or world.standing("staging") or version in world.status.refused_versions:
        return False
    least = max(rule.min_time_in_staging, world.spec.staging.bake_time)
    return world.in_service_for("staging") < least


def _production(world: World) -> Wish:
    target = _target(world)
    serves = world.seen.stages["production"].version
    if target is None:
        return Wish("NotApproved", "Production waits for spec.production.approvedVersion.")
    if _settled(world, "production", target):
        return Wish("UpToDate", f"Production serves version {serves}.")
    if target in world.status.refused_versions:
        return Wish("Refused", f"Version {target} was rolled back: it stays out until approvedVersion changes.")
    package = next((package for package in world.seen.packages if package.version == target), None)
    if package is None or not package.approved:
        return Wish("PackageNotApproved", f"The model package of version {target} is not approved.")
    if held := _unproved(world, target):
        return held
    message = f"Version {target} has proved itself in staging: it goes to production."
    return _launch(world, "Promoted", "deploy", "production", target, message, {"model_package_arn": package.arn})


def _target(world: World) -> int | None:
    """The version that production is to serve."""
    if world.spec.production.automatic is None:
        return world.spec.production.approved_version
    staging, serves = world.seen.stages.get("staging", Served()).version, world.seen.stages["production"].version
    return staging if staging > serves else serves or None


def _unproved(world: World, target: int) -> Wish | None:
    """What keeps staging's version from production."""
    staging, rule = world.seen.stages.get("staging", Served()), world.spec.production.automatic
    if staging.version != target or not staging.in_service:
        return Wish("NotInStaging", f"Version {target} is not what staging serves.")
    if world.seen.stages["production"].version == target:
        return None  # its deployment is only to be finished
    least = max(world.spec.staging.bake_time, rule.min_time_in_staging if rule else timedelta(0))
    if world.in_service_for("staging") < least:
        ends = (world.status.staging.since or world.seen.now) + least
        return Wish("Baking", f"Version {target} bakes in staging until {iso(ends)}.")
    if standing := world.standing("staging"):
        return Wish("StagingAlarm", f"The alarm {standing[0]} stands against version {target} in staging.")
    ratio = world.seen.loss_ratio
    if rule and ratio is None:
        return Wish("LossUnknown", f"The loss of version {target} in staging is not known yet.")
    if rule and ratio is not None and not ratio < rule.max_loss_ratio:
        return Wish(
            "LossTooHigh", f"Staging's loss is {ratio:.3g} of its threshold, not below {rule.max_loss_ratio:g}."
        )
    return None


def _launch(
    world: World, trigger: str, pipeline: str, stage: str, version: int, message: str, arguments: Mapping[str, str]
) -> Wish:
    approved = str(world.spec.production.approved_version or "")
    given = dict(world.spec.stage(stage).arguments) if pipeline == "deploy" else {}
    launch = Launch(
        pipeline=pipeline,
        trigger=trigger,
        message=message,
        arguments={**given, **arguments, "stage": stage},
        tags={"stage": stage, "version": str(version), "approved": approved},
    )
    return Wish(trigger, message, launch)


def _waited_out(world: World, wish: Wish) -> Wish:
    """The wish, unless runs for the same have failed of late."""
    launch = wish.launch
    if launch is None:
        return wish
    same = [run for run in world.seen.runs if run.trigger == launch.trigger and _same(run, launch)]
    failed = failures(same)
    if not failed:
        return wish
    retry, ended = world.spec.retry, same[-1].finished_at or same[-1].launched_at
    pause = back_off(retry.backoff, retry.maximum, retry.jitter, same[-1], failed)
    if world.seen.now >= ended + pause:
        return wish
    times = "once" if failed == 1 else f"{failed} times"
    said = f"{wish.message} It has failed {times}{why(same[-1])} It is tried again {iso(ended + pause)}."
    return Wish("BackingOff", said)


def _same(run: Run, launch: Launch) -> bool:
    return all(run.tags.get(key) == launch.tags[key] for key in ("stage", "version"))


def _decision(world: World, wishes: Mapping[str, Wish]) -> Decision:
    spec, runs = world.spec, world.seen.runs
    if spec.suspend:
        return Decision("Suspended", "The policy is suspended: nothing is launched.")
    if unfinished := in_hand(runs, world.seen.now, spec.run_timeout, spec.dry_run):
        return unfinished
    if running := [run for run in runs if not run.state.over]:
        return Decision("RunInProgress", f"{running[-1].id} is running.")
    return _first(world, wishes)


def _first(world: World, wishes: Mapping[str, Wish]) -> Decision:
    """Out of service goes before into service, and production before staging."""
    ordered = sorted(
        (wish for wish in wishes.values() if wish.launch),
        key=lambda wish: (
            wish.reason != "RollBack",
            wish.launch is not None and wish.launch.tags["stage"] == "staging",
        ),
    )
    if not ordered:
        wish = wishes["production"] if wishes["staging"].reason == "UpToDate" else wishes["staging"]
        return Decision(wish.reason, wish.message)
    if world.spec.dry_run:
        return Decision("DryRun", f"{ordered[0].message} But this is a dry run.")
    return Decision(ordered[0].reason, ordered[0].message, launch=ordered[0].launch)


def _state(decision: Decision, runs: Sequence[Run]) -> str:
    """One word for a column."""
    if decision.reason in ("Suspended", "DryRun"):
        return decision.reason
    if decision.launch or decision.resume or any(not run.state.over for run in runs):
        return "Running"
    return {"UpToDate": "UpToDate", "NotApproved": "UpToDate"}.get(decision.reason, "Waiting")
