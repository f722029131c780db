"""Executions of monitoring schedules: each is a processing job over the hours of data that its window touches."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from local.sagemaker import job_definitions, processing
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ServiceError
from local.sagemaker.jobs import create_job
from local.sagemaker.monitoring_job import NoData, job_request
from local.sagemaker.monitoring_times import Unusable
from local.sagemaker.processing import ProcessingJob
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, page
from local.sagemaker.storage import StorageError
from local.sagemaker.store import Resource

KIND = Kind(
    arn="monitoring-execution",
    prefix="MonitoringExecution",
    missing="Could not find monitoring execution {name}.",
    taken="The monitoring execution {name} exists already.",
    newest_first=True,
)
ENDED = ("Completed", "CompletedWithViolations", "Failed", "Stopped")
_VIOLATED = "CompletedWithViolations"


@operation("ListMonitoringExecutions")
def list_monitoring_executions(context: Context, request: Json) -> Json:
    found = [execution for execution in context.store.all(KIND.arn) if _is_asked(execution.document, request)]
    documents = [refresh(context, execution.name) for execution in found if not _forgotten(context, execution)]
    return page("ListMonitoringExecutions", KIND, documents, request)


def _is_asked(document: Json, request: Json) -> bool:
    equal = {
        "MonitoringScheduleName": request.get("MonitoringScheduleName"),
        "EndpointName": request.get("EndpointName"),
        "MonitoringJobDefinitionName": request.get("MonitoringJobDefinitionName"),
        "MonitoringType": request.get("MonitoringTypeEquals"),
    }
    after, before = request.get("ScheduledTimeAfter", 0), request.get("ScheduledTimeBefore", float("inf"))
    return all(value in (None, document.get(name)) for name, value in equal.items()) and bool(
        after <= document["ScheduledTime"] <= before
    )


def add(context: Context, schedule: Resource, slot: float) -> str:
    """Notes that the execution of `slot` is due; its name, which the same slot of a schedule always has."""
    arn, moment = schedule.document["MonitoringScheduleArn"], now()
    key = f"{arn} {schedule.notes['began']} {slot}"
    stamp = f"{datetime.fromtimestamp(slot, UTC):%Y%m%d%H%M}"
    name = f"model-quality-monitoring-{stamp}-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
    document = {
        "MonitoringExecutionName": name,
        "MonitoringExecutionArn": KIND.arn_of(name),
        "MonitoringScheduleName": schedule.name,
        "ScheduledTime": slot,
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "MonitoringExecutionStatus": "Pending",
        "MonitoringJobDefinitionName": schedule.document["MonitoringScheduleConfig"]["MonitoringJobDefinitionName"],
        "MonitoringType": schedule.document["MonitoringType"],
        **({"EndpointName": schedule.document["EndpointName"]} if "EndpointName" in schedule.document else {}),
    }
    context.store.add(Resource(KIND.arn, name, document))
    return name


def start(context: Context, schedule: Resource, name: str) -> None:
    """Starts the processing job of an execution that is due, if it still is. Raises `BotoCoreError` when S3 doesn't
    answer: it can be tried again."""
    slot = KIND.find(context, name).document["ScheduledTime"]
    try:
        request = job_request(context, schedule, name, slot)
        with context.store.transaction():
            if KIND.find(context, name).document["MonitoringExecutionStatus"] != "Pending":
                return  # the schedule was stopped meanwhile
            extra = {"MonitoringScheduleArn": schedule.document["MonitoringScheduleArn"]}
            create_job(context, ProcessingJob, request, extra)
            _set(context, name, MonitoringExecutionStatus="InProgress", ProcessingJobArn=processing.KIND.arn_of(name))
    except (NoData, Unusable, ServiceError, StorageError, ClientError) as error:
        end(context, name, "Failed", FailureReason=str(error)[:1024])


def end(context: Context, name: str, status: str, **fields: Any) -> None:
    _set(context, name, MonitoringExecutionStatus=status, **fields)


def refresh(context: Context, name: str) -> Json:
    """The execution's document, once it says what its processing job says."""
    document = KIND.find(context, name).document
    if document["MonitoringExecutionStatus"] in (*ENDED, "Pending"):
        return document
    job = context.store.get(processing.KIND.arn, name)
    state = _state(job.document) if job else {"MonitoringExecutionStatus": "Failed", "FailureReason": "Job was deleted"}
    if any(document.get(key) != value for key, value in state.items()):
        _set(context, name, **state)
    return KIND.find(context, name).document


def _set(context: Context, name: str, **fields: Any) -> None:
    context.store.change(
        KIND.arn, name, lambda resource: resource.document.update({"LastModifiedTime": now(), **fields})
    )


def _state(job: Json) -> Json:
    status, said = job["ProcessingJobStatus"], job.get("ExitMessage", "")
    if status == "Completed" and said.startswith(_VIOLATED):
        return {"MonitoringExecutionStatus": _VIOLATED}
    if status == "Failed":
        return {"MonitoringExecutionStatus": status, "FailureReason": said or job["FailureReason"]}
    return {"MonitoringExecutionStatus": status}


def _forgotten(context: Context, execution: Resource) -> bool:
    """Whether nothing else is left of an execution, neither the schedule nor the job: then it goes as well."""
    schedule = context.store.get(job_definitions.SCHEDULES, execution.document["MonitoringScheduleName"])
    if schedule or context.store.get(processing.KIND.arn, execution.name):
        return False
    return context.store.delete(KIND.arn, execution.name)
