"""Decides whether a model is to be retrained now. Pure: what is known goes in, a decision and the next status come out.

What must hold after any restart is read from the launches themselves (their claims); the status only remembers what
can be found out again, so that one that is lost or old neither stops launches nor repeats them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cronsim import CronSim

from operators.durations import format_duration
from operators.models import Moment, Status, iso
from operators.retraining_spec import MetricTrigger, RetrainingSpec, Schedule
from operators.runs import (
    Anchor,
    Decision,
    LastRun,
    Launch,
    Run,
    anchored,
    back_off,
    failures,
    in_hand,
    last_run,
    on_clock,
    why,
)

ALARM, OK = "ALARM", "OK"
TUNING = "TuningFirst"


@dataclass(frozen=True)
class Observed:
    """What is known at the event time `now`; what could not be learnt is missing or None.

    `alarms` are states (OK, ALARM, INSUFFICIENT_DATA) by name; `datapoints` the metric trigger's, oldest first;
    `runs` this policy's newest launches, oldest first; `data_end` the end of the newest minute and `trained_until`
    that of the data of the newest trained model; `request` the value of the annotation `loopcast.io/retrain`.
    """

    now: datetime
    runs: Sequence[Run] = ()
    alarms: Mapping[str, str] = field(default_factory=dict)
    datapoints: Sequence[float] = ()
    threshold: float | None = None
    data_end: datetime | None = None
    trained_until: datetime | None = None
    digest: str = ""
    request: str = ""
    loss: float | None = None
    baseline_loss: float | None = None


class RetrainingStatus(Status):
    """What a RetrainingPolicy shows, and the little that it remembers."""

    state: str = ""
    alarm: str = ""
    reason: str = ""
    message: str = ""
    since: Moment | None = None
    anchor: Anchor | None = None
    breaching: bool = False
    handled_request: str = ""
    digest: str = ""
    last_run: LastRun | None = None
    failed_runs: int = 0
    next_launch_after: Moment | None = None


@dataclass(frozen=True)
class Trigger:
    """Why a retraining is due."""

    name: str
    message: str


@dataclass(frozen=True)
class Held:
    """Why a due retraining is not launched yet, and until when, where that is known."""

    reason: str
    message: str
    until: datetime | None = None


def decide(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> tuple[Decision, RetrainingStatus]:
    """What to do now, and the status that says so."""
    status = _remembered(spec, status, observed)
    observed = replace(observed, runs=on_clock(observed.runs, observed.now, status.anchor))
    trigger = _trigger(spec, status, observed)
    held = _held(spec, status, observed, trigger) if trigger else None
    decision = _decision(spec, status, observed, trigger, held)
    launched = decision.launch
    return decision, status.model_copy(
        update={
            "state": _state(decision, trigger, observed.runs),
            "reason": decision.reason,
            "message": decision.message,
            "handled_request": launched.request if launched else status.handled_request,
            "next_launch_after": held.until if held else None,
        }
    )


def _remembered(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> RetrainingStatus:
    """The status with what `observed` adds to its memory."""
    newest = observed.runs[-1] if observed.runs else None
    return status.model_copy(
        update={
            "alarm": _alarm(spec, status, observed),
            "since": min(status.since or observed.now, observed.now),
            "anchor": anchored(status.anchor, observed.runs, observed.now),
            "breaching": breaching(spec.triggers.metric, status.breaching, observed.datapoints, observed.threshold),
            "handled_request": (newest.request if newest else "") or status.handled_request,
            "digest": status.digest or observed.digest,
            "last_run": last_run(observed.runs),
            "failed_runs": failures(observed.runs),
        }
    )


def breaching(metric: MetricTrigger | None, before: bool, datapoints: Sequence[float], threshold: float | None) -> bool:
    """Whether the metric stands above its threshold: from when the newest datapoints are all above it until one is at
    the rearm level or below. Unknown thresholds and missing datapoints change nothing."""
    if metric is None:
        return False
    if threshold is None or not datapoints:
        return before
    if datapoints[-1] <= threshold * metric.rearm:
        return False
    newest = datapoints[-metric.datapoints :]
    return before or (len(newest) == metric.datapoints and all(value > threshold for value in newest))


def _alarm(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> str:
    """One word for all alarms that the policy watches: the worst that is known."""
    metric = spec.triggers.metric
    states = [observed.alarms.get(name, "Unknown") for name in spec.triggers.alarms]
    if metric is not None:
        above = breaching(metric, status.breaching, observed.datapoints, observed.threshold)
        known = observed.threshold is not None and observed.datapoints
        states.append(ALARM if above else OK if known else "Unknown")
    return next((state for state in (ALARM, "Unknown", "INSUFFICIENT_DATA", OK) if state in states), "")


def _trigger(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> Trigger | None:
    """The first trigger that stands; a request by hand goes before all others."""
    if observed.request and observed.request != status.handled_request:
        return Trigger("ManualRequest", f"Retraining was asked for by the annotation's value {observed.request!r}.")
    found = (
        _alarm_trigger(spec, observed),
        _metric_trigger(spec, status, observed),
        _code_trigger(spec, status, observed),
        _schedule_trigger(spec, status, observed),
        _data_trigger(spec, status, observed),
    )
    return next((trigger for trigger in found if trigger), None)


def _alarm_trigger(spec: RetrainingSpec, observed: Observed) -> Trigger | None:
    standing = [name for name in spec.triggers.alarms if observed.alarms.get(name) == ALARM]
    return Trigger("AlarmStanding", f"The alarm {standing[0]} stands.") if standing else None


def _metric_trigger(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> Trigger | None:
    metric = spec.triggers.metric
    if metric is None or not status.breaching:
        return None
    if observed.threshold is None or not observed.datapoints:
        return Trigger("MetricBreaching", f"The metric {metric.name} was above its threshold when it was last seen.")
    return Trigger(
        "MetricBreaching",
        f"The metric {metric.name} is {observed.datapoints[-1]:.4g} and has been above its threshold of "
        f"{observed.threshold:.4g}.",
    )


def _settled(runs: Sequence[Run]) -> Run | None:
    """The newest retraining that has not failed."""
    return next((run for run in reversed(runs) if not run.state.failed and run.trigger != TUNING), None)


def _code_trigger(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> Trigger | None:
    run = _settled(observed.runs)
    before = (run.digest if run else "") or status.digest
    if not spec.triggers.changed_code or not observed.digest or not before or observed.digest == before:
        return None
    return Trigger("CodeChanged", f"The compiled pipeline {spec.pipeline.name} has changed since it was launched last.")


def _schedule_trigger(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> Trigger | None:
    schedule = spec.triggers.schedule
    if schedule is None or status.since is None:
        return None
    run = _settled(observed.runs)
    base = run.launched_at if run else status.since
    if not _due(schedule, base, observed.now):
        return None
    return Trigger("ScheduleDue", f"The schedule says so: the newest retraining is of {iso(base)}.")


def _due(schedule: Schedule, base: datetime, now: datetime) -> bool:
    if schedule.every is not None:
        return now - base >= schedule.every
    return next(CronSim(schedule.cron or "", base)) <= now


def _data_trigger(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> Trigger | None:
    wanted, run = spec.triggers.new_data, _settled(observed.runs)
    if wanted is None or observed.data_end is None or status.since is None:
        return None
    known = [moment for moment in (observed.trained_until, run.launched_at if run else None) if moment is not None]
    new = observed.data_end - max(known, default=status.since)
    if new < wanted:
        return None
    return Trigger(
        "NewData", f"There are {format_duration(wanted)} of data or more that the newest model has not seen."
    )


def _held(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed, trigger: Trigger) -> Held | None:
    """What a due retraining waits for; a request by hand waits for running ones alone."""
    running = [run for run in observed.runs if not run.state.over]
    if len(running) >= spec.max_concurrent_runs:
        names = ", ".join(run.name for run in running)
        return Held("RunInProgress", f"{trigger.message} It waits for the running {names}.")
    if trigger.name == "ManualRequest":
        return None
    return _waits(spec, observed, trigger) or _quiet(spec, observed.now, trigger)


def _waits(spec: RetrainingSpec, observed: Observed, trigger: Trigger) -> Held | None:
    """The cool-down after the newest retraining, and the back-off after failed ones."""
    runs = [run for run in observed.runs if run.trigger != TUNING]
    if not runs:
        return None
    newest, failed = runs[-1], failures(runs)
    until = newest.launched_at + spec.cooldown
    if observed.now < until:
        return Held("CoolingDown", f"{trigger.message} The cool-down after {newest.name} ends {iso(until)}.", until)
    if not failed:
        return None
    pause = back_off(spec.retry.backoff, spec.retry.maximum, spec.retry.jitter, newest, failed)
    until = (newest.finished_at or newest.launched_at) + pause
    if observed.now >= until:
        return None
    said = f"{trigger.message} {_failed(failed)}{why(newest)} The next one may begin {iso(until)}."
    return Held("BackingOff", said, until)


def _failed(count: int) -> str:
    return "The newest run has failed" if count == 1 else f"The newest {count} runs have failed"


def _quiet(spec: RetrainingSpec, now: datetime, trigger: Trigger) -> Held | None:
    if not spec.quiet(now):
        return None
    until = now
    while spec.quiet(until):
        until = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return Held("QuietHours", f"{trigger.message} Quiet hours end {iso(until)}.", until)


def _decision(
    spec: RetrainingSpec, status: RetrainingStatus, observed: Observed, trigger: Trigger | None, held: Held | None
) -> Decision:
    if spec.suspend:
        return Decision("Suspended", "The policy is suspended: nothing is launched.")
    if spec.dry_run and trigger and not held:
        return Decision("DryRun", f"{trigger.message} A retraining would be launched, but this is a dry run.")
    if unfinished := in_hand(observed.runs, observed.now, spec.run_timeout, spec.dry_run):
        return unfinished
    if trigger is None:
        return _idle(spec, status, observed)
    return Decision(held.reason, held.message) if held else _launch(spec, observed, trigger, status)


def _idle(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed) -> Decision:
    running = [run for run in observed.runs if not run.state.over]
    if running:
        return Decision("RunInProgress", f"{running[-1].name} is running.")
    if status.alarm == "Unknown":
        return Decision("AlarmUnknown", f"{_unknown(spec, observed)} can't be read, and nothing else is due.")
    return Decision("NothingDue", "No trigger stands.")


def _unknown(spec: RetrainingSpec, observed: Observed) -> str:
    """What the policy watches and nothing is known of, as where a name has a mistake."""
    names = [f"the alarm {name}" for name in spec.triggers.alarms if name not in observed.alarms]
    if (metric := spec.triggers.metric) and not observed.datapoints:
        names.append(f"the metric {metric.name}")
    if metric and observed.threshold is None:
        names.append("the threshold")
    said = ", ".join(names)
    return said[:1].upper() + said[1:]


def _launch(spec: RetrainingSpec, observed: Observed, trigger: Trigger, status: RetrainingStatus) -> Decision:
    request = observed.request if trigger.name == "ManualRequest" else status.handled_request
    if tuning := _tuning(spec, status, observed, trigger):
        return Decision(TUNING, tuning.message, launch=tuning)
    launch = Launch(
        pipeline=spec.pipeline.name,
        trigger=trigger.name,
        message=trigger.message,
        arguments=spec.pipeline.arguments,
        request=request,
        digest=observed.digest,
    )
    return Decision(trigger.name, f"{trigger.message} A retraining is launched.", launch=launch)


def _tuning(spec: RetrainingSpec, status: RetrainingStatus, observed: Observed, trigger: Trigger) -> Launch | None:
    """A search for hyperparameters to go before the retraining, where the policy wants one and none was of late."""
    tuning, loss, baseline = spec.tuning, observed.loss, observed.baseline_loss
    if not tuning.when_worse_than_baseline or loss is None or baseline is None or not loss > baseline:
        return None
    newest = next((run for run in reversed(observed.runs) if run.trigger == TUNING), None)
    if newest is not None and observed.now - newest.launched_at < tuning.cooldown:
        return None
    message = (
        f"{trigger.message} The loss of {loss:.4g} is above the best baseline's {baseline:.4g}: "
        "better hyperparameters are searched for before the retraining."
    )
    return Launch(
        pipeline=tuning.pipeline,
        trigger=TUNING,
        message=message,
        arguments=tuning.arguments,
        request=status.handled_request,
        digest=observed.digest,
    )


def _state(decision: Decision, trigger: Trigger | None, runs: Sequence[Run]) -> str:
    """One word for a column."""
    if decision.reason in ("Suspended", "DryRun"):
        return decision.reason
    if decision.launch or decision.resume or any(not run.state.over for run in runs):
        return "Running"
    return "Waiting" if trigger else "Idle"
