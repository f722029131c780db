"""Carries decisions out: reads the claims, looks at the runs, decides, claims, launches.

Safe to be called again at any time, by several replicas, and after being killed anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Generic, Protocol, TypeVar

from operators import release, retraining
from operators.claims import Claims, stem
from operators.launchers.base import Launcher, LauncherUnreachable, LaunchFailed, Recurring
from operators.release import ReleaseObserved, ReleaseStatus
from operators.release_spec import ReleaseSpec
from operators.retraining import Observed, RetrainingStatus
from operators.retraining_spec import RetrainingSpec
from operators.runs import Decision, Launch, Run, RunState, last_run

log = logging.getLogger(__name__)
LAUNCH_ATTEMPTS = 10
"""How often the place where pipelines run may be out of reach before a launch counts as failed."""
RETRAINING, RELEASE = "retrain", "release"
S = TypeVar("S")


class Observer(Protocol):
    """Knows the world. What it can't learn it leaves out; it raises when it doesn't even know what time it is."""

    def now(self) -> datetime:
        """The event time."""
        ...

    def retraining(self, spec: RetrainingSpec, now: datetime, runs: list[Run], digest: str) -> Observed: ...

    def release(self, spec: ReleaseSpec, now: datetime, runs: list[Run]) -> ReleaseObserved: ...


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """What was decided and done, when, and the status that shows it. `run` is what was launched."""

    decision: Decision
    status: S
    now: datetime
    run: Run | None = None


@dataclass(frozen=True)
class Engine:
    """Reconciles policies of one feed."""

    claims: Claims
    launcher: Launcher
    observer: Observer

    def retrain(
        self, name: str, spec: RetrainingSpec, status: RetrainingStatus, request: str = ""
    ) -> Outcome[RetrainingStatus]:
        """One look at a RetrainingPolicy. Raises AWS errors when claims can't be read or written."""
        key, now = stem(name, RETRAINING), self._now()
        runs = self._refreshed(key, now)
        observed = self.observer.retraining(spec, now, runs, self._digest(spec.pipeline.name))
        decision, after = retraining.decide(spec, status, replace(observed, request=request))
        done, run = self._carry_out(key, name, decision, now, runs)
        if run is None and decision.launch:  # whoever was faster may have met another wish
            after = after.model_copy(update={"handled_request": status.handled_request})
        return Outcome(done, after.model_copy(update=_shown(done, run, runs)), now, run)

    def release(self, name: str, spec: ReleaseSpec, status: ReleaseStatus) -> Outcome[ReleaseStatus]:
        """One look at a ReleasePolicy. Raises AWS errors when claims can't be read or written."""
        key, now = stem(name, RELEASE), self._now()
        runs = self._refreshed(key, now)
        observed = self.observer.release(spec, now, runs)
        decision, after = release.decide(spec, status, observed)
        done, run = self._carry_out(key, name, decision, now, runs)
        self._monitor(spec, observed)
        return Outcome(done, after.model_copy(update=_shown(done, run, runs)), now, run)

    def forget(self, spec: ReleaseSpec) -> None:
        """Ends what recurs because of a policy that is gone."""
        for stage in ("staging", "production"):
            self._quietly(partial(self.launcher.remove_recurring, _monitor_name(spec, stage)))

    def _now(self) -> datetime:
        """The event time in whole seconds, as claims tell it."""
        return self.observer.now().replace(microsecond=0)

    def _refreshed(self, key: str, now: datetime) -> list[Run]:
        """The policy's launches as they are now; what has ended is written down."""
        return [self._looked_at(key, run, now) for run in self.claims.read(key)]

    def _looked_at(self, key: str, run: Run, now: datetime) -> Run:
        if run.state is not RunState.RUNNING:
            return run
        try:
            progress = self.launcher.progress(run)
        except LauncherUnreachable as error:
            log.warning("a run can't be looked at", extra={"run_id": run.id, "error": str(error)})
            return run
        if not progress.state.over:
            return replace(run, message=progress.message)
        ended = replace(run, state=progress.state, finished_at=now, message=progress.message)
        self.claims.record(key, ended)
        log.info("run ended", extra={"run_id": run.id, "state": ended.state.value, "said": ended.message})
        return ended

    def _carry_out(
        self, key: str, policy: str, decision: Decision, now: datetime, runs: list[Run]
    ) -> tuple[Decision, Run | None]:
        for run in decision.cancel:
            self._cancel(key, run, now)
        if decision.resume:
            return self._resume(key, decision, now)
        if decision.launch is None:
            return decision, None
        sequence = runs[-1].sequence + 1 if runs else 1
        claimed = self.claims.claim(key, _run(sequence, policy, decision.launch, now))
        if claimed is None:
            message = f"{decision.launch.message} Another replica has claimed a launch just now."
            return Decision("ClaimedElsewhere", message), None
        return self._launch(key, claimed, decision, now)

    def _resume(self, key: str, decision: Decision, now: datetime) -> tuple[Decision, Run | None]:
        run = decision.resume
        if run is None or not self.claims.take(key, run):
            return Decision("ClaimedElsewhere", "Another replica is launching what was claimed."), None
        return self._launch(key, run, decision, now)

    def _launch(self, key: str, run: Run, decision: Decision, now: datetime) -> tuple[Decision, Run]:
        try:
            handle = self.launcher.launch(run)
        except LaunchFailed as error:
            return self._not_launched(key, replace(run, attempts=LAUNCH_ATTEMPTS), str(error), now)
        except LauncherUnreachable as error:
            return self._not_launched(key, replace(run, attempts=run.attempts + 1), str(error), now)
        running = replace(run, state=RunState.RUNNING, handle=handle)
        self.claims.record(key, running)
        return decision, running

    def _not_launched(self, key: str, run: Run, why: str, now: datetime) -> tuple[Decision, Run]:
        if run.attempts < LAUNCH_ATTEMPTS:
            self.claims.record(key, run)
            return Decision("LaunchDelayed", f"{run.id} could not be launched yet and is tried again: {why}"), run
        failed = replace(run, state=RunState.FAILED, finished_at=now, message=why)
        self.claims.record(key, failed)
        return Decision("LaunchFailed", f"{run.id} could not be launched: {why}"), failed

    def _cancel(self, key: str, run: Run, now: datetime) -> None:
        try:
            self.launcher.cancel(run)
        except LauncherUnreachable as error:
            log.warning("a run can't be cancelled", extra={"run_id": run.id, "error": str(error)})
            return
        message = "It took too long and was cancelled."
        self.claims.record(key, replace(run, state=RunState.CANCELED, finished_at=now, message=message))

    def _monitor(self, spec: ReleaseSpec, observed: ReleaseObserved) -> None:
        ensured, removed = release.monitors(spec, observed)
        rule = spec.monitor
        for stage in ensured:
            arguments = {**rule.arguments, "stage": stage}
            recurring = Recurring(_monitor_name(spec, stage), rule.pipeline, rule.interval, arguments)
            self._quietly(partial(self.launcher.ensure_recurring, recurring, observed.now))
        for stage in removed:
            self._quietly(partial(self.launcher.remove_recurring, _monitor_name(spec, stage)))

    def _quietly(self, call: Callable[[], bool]) -> None:
        """What is done again at each look may fail now and then."""
        try:
            call()
        except (LauncherUnreachable, LaunchFailed) as error:
            log.warning("a recurring run could not be changed", extra={"error": str(error)})

    def _digest(self, pipeline: str) -> str:
        try:
            return self.launcher.digest(pipeline)
        except LauncherUnreachable as error:
            log.warning("the compiled pipeline can't be looked at", extra={"error": str(error)})
            return ""


def _monitor_name(spec: ReleaseSpec, stage: str) -> str:
    return f"{spec.feed}-monitor-{stage}"


def _run(sequence: int, policy: str, launch: Launch, now: datetime) -> Run:
    return Run(
        sequence=sequence,
        policy=policy,
        pipeline=launch.pipeline,
        trigger=launch.trigger,
        launched_at=now,
        request=launch.request,
        digest=launch.digest,
        reason=launch.message,
        arguments=launch.arguments,
        tags=launch.tags,
    )


def _shown(decision: Decision, run: Run | None, runs: list[Run]) -> dict[str, object]:
    """What a status shows of what was done."""
    shown: dict[str, object] = {"reason": decision.reason, "message": decision.message}
    return shown | {"last_run": last_run([run])} if run else shown
