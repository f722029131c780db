"""Monitoring schedules: their operations, and the thread that starts their executions when they are due.

When a schedule is due next, and which of its executions haven't ended, lies in the schedule's notes; a slot's execution
is noted and the next slot is set in one transaction, so that a killed server neither loses nor doubles one.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError

from local.sagemaker import executions, job_definitions
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ResourceInUse, ResourceNotFound, ServiceError, ValidationException
from local.sagemaker.jobs import stop_job
from local.sagemaker.monitoring_times import DAY, Unusable, cron, duration, window
from local.sagemaker.processing import ProcessingJob
from local.sagemaker.registry import Json, operation, service
from local.sagemaker.resources import Kind, create, describe, page
from local.sagemaker.store import Resource

KIND = Kind(
    arn=job_definitions.SCHEDULES,
    prefix="MonitoringSchedule",
    missing="Could not find monitoring schedule {arn}.",
    taken="A monitoring schedule of this name already exists: {arn}",
    newest_first=True,
    missing_error=ResourceNotFound,
)
_INTERVAL = 1.0

log = logging.getLogger(__name__)


@operation("CreateMonitoringSchedule")
def create_monitoring_schedule(context: Context, request: Json) -> Json:
    fields = _fields(context, request["MonitoringScheduleConfig"])
    moment = now()
    times = {"MonitoringScheduleStatus": "Pending", "CreationTime": moment, "LastModifiedTime": moment}
    with context.store.transaction():
        answer = create(context, KIND, request, {**times, **fields}, error=ResourceInUse)
        context.store.change(KIND.arn, request["MonitoringScheduleName"], lambda schedule: _begin(schedule, moment))
    context.service(Monitor).wake()
    return answer


@operation("UpdateMonitoringSchedule")
def update_monitoring_schedule(context: Context, request: Json) -> Json:
    """The schedule begins anew: one of NOW runs once more."""
    name, config = request["MonitoringScheduleName"], request["MonitoringScheduleConfig"]
    found, fields = KIND.find(context, name), _fields(context, config)

    def update(schedule: Resource) -> None:
        schedule.document.pop("EndpointName", None)
        schedule.document.update({"MonitoringScheduleConfig": config, "LastModifiedTime": now(), **fields})
        if schedule.document["MonitoringScheduleStatus"] != "Stopped":
            schedule.document["MonitoringScheduleStatus"] = "Pending"
        _begin(schedule, now())

    context.store.change(KIND.arn, name, update)
    context.service(Monitor).wake()
    return {"MonitoringScheduleArn": found.document["MonitoringScheduleArn"]}


@operation("DescribeMonitoringSchedule")
def describe_monitoring_schedule(context: Context, request: Json) -> Json:
    name = request["MonitoringScheduleName"]
    answer = describe(context, KIND, name)
    own = {"MonitoringScheduleName": name, "CreationTimeAfter": answer["CreationTime"]}  # not a namesake's before it
    last = executions.list_monitoring_executions(context, {**own, "MaxResults": 1})
    for summary in last["MonitoringExecutionSummaries"]:
        answer["LastMonitoringExecutionSummary"] = summary
    return answer


@operation("ListMonitoringSchedules")
def list_monitoring_schedules(context: Context, request: Json) -> Json:
    equal = {
        "EndpointName": request.get("EndpointName"),
        "MonitoringJobDefinitionName": request.get("MonitoringJobDefinitionName"),
        "MonitoringType": request.get("MonitoringTypeEquals"),
    }
    documents = [schedule.document for schedule in context.store.all(KIND.arn)]
    kept = [d for d in documents if all(value in (None, d.get(name)) for name, value in equal.items())]
    return page("ListMonitoringSchedules", KIND, kept, request)


@operation("StartMonitoringSchedule")
def start_monitoring_schedule(context: Context, request: Json) -> Json:
    """What was due while the schedule was stopped isn't made up for."""

    def start(schedule: Resource) -> None:
        if schedule.document["MonitoringScheduleStatus"] == "Stopped":
            schedule.document.update(MonitoringScheduleStatus="Pending", LastModifiedTime=now())
            _resume(schedule, now())

    _change(context, request["MonitoringScheduleName"], start)
    context.service(Monitor).wake()
    return {}


@operation("StopMonitoringSchedule")
def stop_monitoring_schedule(context: Context, request: Json) -> Json:
    """An execution that runs goes on; those that wait for it are stopped."""

    def stop(schedule: Resource) -> None:
        schedule.document.update(MonitoringScheduleStatus="Stopped", LastModifiedTime=now())
        for name in schedule.notes["open"]:
            if executions.refresh(context, name)["MonitoringExecutionStatus"] == "Pending":
                executions.end(context, name, "Stopped")

    _change(context, request["MonitoringScheduleName"], stop)
    return {}


@operation("DeleteMonitoringSchedule")
def delete_monitoring_schedule(context: Context, request: Json) -> Json:
    """What runs of it is stopped; the history of its executions stays."""
    name = request["MonitoringScheduleName"]
    stop_monitoring_schedule(context, request)
    for execution in KIND.find(context, name).notes["open"]:
        if executions.refresh(context, execution)["MonitoringExecutionStatus"] == "InProgress":
            _stop_job(context, execution)
    KIND.delete(context, name)
    return {}


@service
class Monitor:
    """Starts the executions of all schedules. Those of one schedule run one after another."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._closing = threading.Event()
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitoring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._awake.set()
        self._thread.join()

    def wake(self) -> None:
        """A schedule has changed: it may be due at once."""
        self._awake.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.clear()
            tick(self._context, now())
            self._awake.wait(_INTERVAL)


def tick(context: Context, moment: float) -> None:
    """Notes what is due at `moment`, and starts what can be started; what goes wrong is tried again by the next."""
    for schedule in context.store.all(KIND.arn):
        try:
            _advance(context, _noted(context, schedule, moment))
        except BotoCoreError as error:
            log.warning("S3 does not answer a schedule", extra={"schedule": schedule.name, "reason": str(error)})
        except Exception:
            log.exception("a schedule can't go on", extra={"schedule": schedule.name})


def _noted(context: Context, schedule: Resource, moment: float) -> Resource:
    """The schedule, once what is due of it is noted."""
    if not _is_due(schedule, moment):
        return schedule
    return context.store.change(KIND.arn, schedule.name, partial(_note_due, context, moment=moment)) or schedule


def _is_due(schedule: Resource, moment: float) -> bool:
    """Whether there is anything to write; most ticks find nothing."""
    status, slot = schedule.document["MonitoringScheduleStatus"], schedule.notes["next"]
    return status == "Pending" or (status == "Scheduled" and slot is not None and slot <= moment)


def _note_due(context: Context, schedule: Resource, *, moment: float) -> None:
    if schedule.document["MonitoringScheduleStatus"] == "Pending":
        schedule.document["MonitoringScheduleStatus"] = "Scheduled"
    if schedule.document["MonitoringScheduleStatus"] != "Scheduled":
        return
    times = cron(schedule.document["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"])
    while schedule.notes["next"] is not None and schedule.notes["next"] <= moment:
        slot = schedule.notes["next"]
        schedule.notes["open"].append(executions.add(context, schedule, slot))
        # A machine that slept for long makes up for a day at most.
        schedule.notes["next"] = times.after(max(slot, moment - DAY)) if times else None


def _advance(context: Context, schedule: Resource) -> None:
    """Forgets the executions that have ended, and starts the next one that waits."""
    for name in schedule.notes["open"]:
        if executions.refresh(context, name)["MonitoringExecutionStatus"] == "Pending":
            executions.start(context, schedule, name)
        if executions.refresh(context, name)["MonitoringExecutionStatus"] not in executions.ENDED:
            return
        context.store.change(KIND.arn, schedule.name, partial(_forget, execution=name))


def _forget(schedule: Resource, execution: str) -> None:
    schedule.notes["open"] = [name for name in schedule.notes["open"] if name != execution]


def _begin(schedule: Resource, moment: float) -> None:
    """Sets the first slot of a new configuration: at once for NOW."""
    schedule.notes.setdefault("open", [])
    schedule.notes["began"] = moment
    schedule.notes["next"] = moment
    _resume(schedule, moment)


def _resume(schedule: Resource, moment: float) -> None:
    times = cron(schedule.document["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"])
    if times is not None:
        schedule.notes["next"] = times.after(moment)


def _fields(context: Context, config: Json) -> Json:
    """What Describe says of a configuration beside it. Raises `ServiceError` when it can't work."""
    kind = config.get("MonitoringType")
    if kind != "ModelQuality" or "MonitoringJobDefinitionName" not in config:
        raise ValidationException(
            f"The MonitoringType {kind} is not known to this SageMaker: it must be ModelQuality, with a "
            "MonitoringJobDefinitionName."
        )
    if "ScheduleConfig" not in config:
        raise ValidationException("ScheduleConfig is missing: this SageMaker picks no time of its own.")
    definition = job_definitions.KIND.find(context, config["MonitoringJobDefinitionName"]).document
    _check_times(config["ScheduleConfig"], job_definitions.data_of(definition))
    endpoint = job_definitions.endpoint_of(definition)
    return {"MonitoringType": kind, **({"EndpointName": endpoint} if endpoint else {})}


def _check_times(schedule: Json, data: Json) -> None:
    try:
        window(schedule, data, now())
        stated = [
            duration(schedule[name]) for name in ("DataAnalysisStartTime", "DataAnalysisEndTime") if name in schedule
        ]
    except Unusable as error:
        raise ValidationException(str(error)) from error
    if len(stated) == 2 and stated[1] - stated[0] > DAY:
        raise ValidationException("DataAnalysisEndTime must not follow DataAnalysisStartTime by more than 24 hours.")


def _change(context: Context, name: str, function: Any) -> None:
    KIND.find(context, name)
    context.store.change(KIND.arn, name, function)


def _stop_job(context: Context, name: str) -> None:
    try:
        stop_job(context, ProcessingJob, {"ProcessingJobName": name})
    except ServiceError:
        log.info("the job has ended meanwhile", extra={"job": name})
