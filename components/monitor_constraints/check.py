"""SageMaker Model Monitor's own model-quality job over the windows of a run: RMSE and its kin against the constraints.

A run has a job definition and a schedule of one time, named after it, so that a step started again adopts them. Both
are deleted once the execution is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from components.jobs import absent_is_none, short_name
from components.models import tags
from components.monitor.records import Record
from components.run import Refused, Run, read_json
from loopcast import aws
from loopcast.clock import Clock
from loopcast.minute import WINDOW

_INPUT, _OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
_GOOD = {"Completed", "CompletedWithViolations"}
_OVER = {*_GOOD, "Failed", "Stopped"}
_TAKEN = "ResourceInUse"


@dataclass(frozen=True)
class Settings:
    """How the job is run, how long it may take, and how often to look."""

    image: str
    instance_type: str
    max_seconds: int
    poll_seconds: float


def check(run: Run, stage: str, record: Mapping[str, Any], settings: Settings, clock: Clock) -> dict[str, Any]:
    """What the job found of a record of `measure`: its status, its errors, and the violations of the constraints.

    {} where it has nothing to judge: no forecast, or a model whose package has no constraints. Raises `Refused` when
    the job fails or takes too long; it is made anew, or waited for, when the step is started again.
    """
    constraints = constraints_of(record.get("model_package_arn", ""))
    if not record.get("judged") or not constraints:
        return {}
    name = _name(run, stage)
    _create("model_quality_job_definition", lambda: definition(run, stage, record, constraints, name, settings))
    _create("monitoring_schedule", lambda: schedule(run, record, name, clock.now()))
    execution = _over(name, settings, clock)
    _delete(name)
    status = execution["MonitoringExecutionStatus"]
    if status not in _GOOD:
        reason = str(execution.get("FailureReason") or "no reason was given").rstrip(".")
        raise Refused(f"The model-quality job of {record['endpoint']} has {status.lower()}: {reason}.")
    return {"model_quality": {"status": status, **_reports(run, stage)}}


def _name(run: Run, stage: str) -> str:
    return short_name(f"{run.names.prefix}-{run.id}", f"-{stage}-quality", keep=run.names.prefix)


def remove(run: Run, stage: str) -> None:
    """Deletes what a cancelled run has left of its job; one that runs is stopped."""
    _delete(_name(run, stage))


def constraints_of(package: str) -> str:
    """The address of the constraints.json of a model package; '' where it has none."""
    if not package:
        return ""
    described = aws.client("sagemaker").describe_model_package(ModelPackageName=package)
    quality = described.get("ModelMetrics", {}).get("ModelQuality", {})
    return str(quality.get("Constraints", {}).get("S3Uri", ""))


def definition(
    run: Run, stage: str, record: Mapping[str, Any], constraints: str, name: str, settings: Settings
) -> dict[str, Any]:
    """The request of CreateModelQualityJobDefinition: captured medians against the ground truth of the same ids."""
    truth = Record(run.names, stage, "", record["model_version"]).ground_truth
    output = {"S3Uri": _output(run, stage), "LocalPath": _OUTPUT, "S3UploadMode": "EndOfJob"}
    cluster = {"InstanceCount": 1, "InstanceType": settings.instance_type, "VolumeSizeInGB": 10}
    return {
        "JobDefinitionName": name,
        "ModelQualityBaselineConfig": {"ConstraintsResource": {"S3Uri": constraints}},
        "ModelQualityAppSpecification": {"ImageUri": settings.image, "ProblemType": "Regression"},
        "ModelQualityJobInput": {
            "EndpointInput": {"EndpointName": record["endpoint"], "LocalPath": _INPUT, "InferenceAttribute": "0"},
            "GroundTruthS3Input": {"S3Uri": truth},
        },
        "ModelQualityJobOutputConfig": {"MonitoringOutputs": [{"S3Output": output}]},
        "JobResources": {"ClusterConfig": cluster},
        "RoleArn": run.names.role_arn("sagemaker"),
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_seconds},
        "Tags": tags(run.names, run=run.id),
    }


def schedule(run: Run, record: Mapping[str, Any], name: str, now: float) -> dict[str, Any]:
    """The request of CreateMonitoringSchedule: once, at the wall time `now`, over the record's windows."""
    first, end = (datetime.fromisoformat(record[key]) for key in ("start", "end"))
    start, stop = offsets(first, end, run.feed.forecast.steps * WINDOW, datetime.fromtimestamp(now, UTC))
    return {
        "MonitoringScheduleName": name,
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {
                "ScheduleExpression": "NOW",
                "DataAnalysisStartTime": start,
                "DataAnalysisEndTime": stop,
            },
            "MonitoringJobDefinitionName": name,
            "MonitoringType": "ModelQuality",
        },
        "Tags": tags(run.names, run=run.id),
    }


def offsets(first: datetime, end: datetime, horizon: timedelta, now: datetime) -> tuple[str, str]:
    """Where the job's data begins and ends, as ISO 8601 durations before `now`.

    A prediction bears the time at which its window begins; `first` and `end` are the first window's begin and the last
    one's end. Half a horizon on both sides lets the job begin some minutes after `now` and still mean the same.
    """
    last, slack = end - horizon, horizon / 2
    return _before(now, first - slack), _before(now, last + slack)


def _before(now: datetime, moment: datetime) -> str:
    return f"-PT{max(0, round((now - moment).total_seconds()))}S"


def _create(kind: str, request: Callable[[], Mapping[str, Any]]) -> None:
    """Makes what the step, started before, has not made yet."""
    try:
        getattr(aws.client("sagemaker"), f"create_{kind}")(**request())
    except ClientError as error:
        if error.response["Error"]["Code"] != _TAKEN:
            raise


def _over(name: str, settings: Settings, clock: Clock) -> dict[str, Any]:
    """The summary of the schedule's execution once it is over."""
    deadline = clock.monotonic() + settings.max_seconds
    while True:
        described = aws.client("sagemaker").describe_monitoring_schedule(MonitoringScheduleName=name)
        execution: dict[str, Any] = described.get("LastMonitoringExecutionSummary", {})
        if execution.get("MonitoringExecutionStatus") in _OVER:
            return execution
        if clock.monotonic() >= deadline:
            raise Refused(
                f"The model-quality job {name} still runs after {settings.max_seconds} s: start the run again."
            )
        clock.sleep(settings.poll_seconds)


def _delete(name: str) -> None:
    sagemaker = aws.client("sagemaker")
    absent_is_none(lambda: sagemaker.delete_monitoring_schedule(MonitoringScheduleName=name))
    absent_is_none(lambda: sagemaker.delete_model_quality_job_definition(JobDefinitionName=name))


def _reports(run: Run, stage: str) -> dict[str, Any]:
    """What the job left: its errors by name, and the violations, each with the metric and a sentence."""
    found = {address.rpartition("/")[2]: address for address in _objects(_output(run, stage))}
    errors = read_json(found["statistics.json"])["regression_metrics"] if "statistics.json" in found else {}
    violated = read_json(found["constraint_violations.json"]) if "constraint_violations.json" in found else {}
    return {
        "errors": {name: metric["value"] for name, metric in errors.items()},
        "violations": violated.get("violations", []),
    }


def _output(run: Run, stage: str) -> str:
    return run.uri("monitor", stage, "model-quality")


def _objects(prefix: str) -> list[str]:
    bucket, key = aws.split_s3(prefix)
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/")
    return [f"s3://{bucket}/{item['Key']}" for page in pages for item in page.get("Contents", [])]
