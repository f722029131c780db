"""Model quality schedules run the analyzer over what was captured and what came true."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.store_performance.constraints import constraints
from tests.local.sagemaker.conftest import BUCKET, ROLE, deploy, get, keys, put, wait_until

ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
LIMITS = constraints({"mae": 2.0, "mse": 5.0, "rmse": 2.2, "r2": None})


def test_a_schedule_of_now_measures_planted_errors_exactly(sagemaker_client: Any, name: str) -> None:
    write(name, {f"e{index}": (10.0 + index + 3, 10.0 + index) for index in range(4)})
    define(sagemaker_client, name)
    schedule(sagemaker_client, name)

    execution = ended(sagemaker_client, name)

    assert execution["MonitoringExecutionStatus"] == "Completed", execution
    report = reports(sagemaker_client, execution)
    measured = {key: metric["value"] for key, metric in report["statistics.json"]["regression_metrics"].items()}
    assert measured == {"mae": 3.0, "mse": 9.0, "rmse": 3.0, "r2": pytest.approx(1 - 36 / 5)}
    assert report["statistics.json"]["dataset"]["item_count"] == 4
    assert "constraint_violations.json" not in report


def define(sagemaker: Any, name: str, limits: Mapping[str, Any] | None = None, **changes: Any) -> None:
    """A job definition over what `write` has written."""
    baseline = {"ConstraintsResource": {"S3Uri": put(f"{name}/constraints.json", json.dumps(limits))}} if limits else {}
    request = {
        "JobDefinitionName": name,
        "ModelQualityBaselineConfig": baseline,
        "ModelQualityAppSpecification": {"ImageUri": ANALYZER, "ProblemType": "Regression"},
        "ModelQualityJobInput": {
            "BatchTransformInput": {
                "DataCapturedDestinationS3Uri": f"s3://{BUCKET}/{name}/predictions",
                "DatasetFormat": {"Json": {"Line": True}},
                "LocalPath": "/opt/ml/processing/input_data",
                "InferenceAttribute": "0",
            },
            "GroundTruthS3Input": {"S3Uri": f"s3://{BUCKET}/{name}/truth"},
        },
        "ModelQualityJobOutputConfig": {
            "MonitoringOutputs": [
                {"S3Output": {"S3Uri": f"s3://{BUCKET}/{name}/reports", "LocalPath": "/opt/ml/processing/output"}}
            ]
        },
        "JobResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
        "RoleArn": ROLE,
    }
    sagemaker.create_model_quality_job_definition(**request | changes)


def schedule(sagemaker: Any, name: str, expression: str = "NOW", **times: str) -> None:
    window = times or {"DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "PT0S"}
    sagemaker.create_monitoring_schedule(
        MonitoringScheduleName=name,
        MonitoringScheduleConfig={
            "ScheduleConfig": {"ScheduleExpression": expression, **window},
            "MonitoringJobDefinitionName": name,
            "MonitoringType": "ModelQuality",
        },
    )


def write(name: str, pairs: Mapping[str, tuple[float | None, float | None]]) -> None:
    """Predictions and what came true, by event, as if made and seen now; None is left out."""
    moment = datetime.now(UTC)
    predictions = [captured(event, str(p), moment) for event, (p, _) in pairs.items() if p is not None]
    truths = [truth(event, str(t)) for event, (_, t) in pairs.items() if t is not None]
    put(f"{name}/predictions/{name}/AllTraffic/{moment:%Y/%m/%d/%H}/a.jsonl", "\n".join(predictions))
    put(f"{name}/truth/{moment:%Y/%m/%d/%H}/a.jsonl", "\n".join(truths))


def captured(event: str, data: str, moment: datetime) -> str:
    output = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": data, "encoding": "CSV"}
    metadata = {"eventId": event, "inferenceTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": metadata, "eventVersion": "0"})


def truth(event: str, data: str) -> str:
    label = {"data": data, "encoding": "CSV"}
    return json.dumps({"groundTruthData": label, "eventMetadata": {"eventId": event}, "eventVersion": "0"})


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    """The only execution of a schedule, once it has ended."""

    def look() -> dict[str, Any] | None:
        found = sagemaker.list_monitoring_executions(MonitoringScheduleName=name)["MonitoringExecutionSummaries"]
        assert len(found) < 2
        over = [one for one in found if one["MonitoringExecutionStatus"] not in ("Pending", "InProgress", "Stopping")]
        return over[0] if over else None

    return wait_until(look)


def reports(sagemaker: Any, execution: Mapping[str, Any]) -> dict[str, Any]:
    """The files that an execution has left, by name."""
    name = execution["ProcessingJobArn"].rpartition("/")[2]
    job = sagemaker.describe_processing_job(ProcessingJobName=name)
    folder = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    prefix = folder.removeprefix(f"s3://{BUCKET}/")
    return {key.rpartition("/")[2]: json.loads(get(f"s3://{BUCKET}/{key}")) for key in keys(f"{prefix}/")}
