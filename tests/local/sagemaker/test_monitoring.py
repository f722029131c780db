"""Model quality schedules run the analyzer over what was captured and what came true."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.store_performance.constraints import constraints
from local.sagemaker import executions, monitoring, operations  # noqa: F401 - registers every operation
from local.sagemaker.context import Context, Settings
from local.sagemaker.monitoring_times import HOUR
from local.sagemaker.places import Machine
from local.sagemaker.registry import OPERATIONS
from local.sagemaker.store import Store
from loopcast import aws as kernel
from tests.conftest import free_port, kill
from tests.local.sagemaker.conftest import BUCKET, ROLE, client, deploy, get, keys, put, wait_until
from tests.local.sagemaker.conftest import ended as job_ended

ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
HOURLY = "cron(0 * ? * * *)"
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/captured",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


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
    published = kernel.client("cloudwatch").list_metrics(
        Namespace="aws/sagemaker/ModelMonitoring/model-metrics",
        Dimensions=[{"Name": "MonitoringSchedule", "Value": name}],
    )
    assert {metric["MetricName"] for metric in published["Metrics"]} == {"mae", "mse", "rmse", "r2"}


def test_violations_of_the_builds_constraints_are_reported_as_on_aws(sagemaker_client: Any, name: str) -> None:
    write(name, {"a": (1.0, 1.0), "b": (6.0, 2.0)})
    define(sagemaker_client, name, constraints({"mae": 1.5, "mse": 9.0, "rmse": 3.0, "r2": None}))
    schedule(sagemaker_client, name)

    execution = ended(sagemaker_client, name)

    assert execution["MonitoringExecutionStatus"] == "CompletedWithViolations"
    job = job_of(sagemaker_client, execution)
    assert job["ExitMessage"] == "CompletedWithViolations: Job completed successfully with 1 violations."
    assert job["ProcessingJobName"].startswith(f"model-quality-monitoring-{execution['ScheduledTime']:%Y%m%d%H%M}-")
    assert job["MonitoringScheduleArn"].endswith(f":monitoring-schedule/{name}")
    (violation,) = reports(sagemaker_client, execution)["constraint_violations.json"]["violations"]
    assert violation == {
        "constraint_check_type": "GreaterThanThreshold",
        "description": "Metric mae with 2.0 was GreaterThanThreshold '1.5'",
        "metric_name": "mae",
    }


def test_what_an_endpoint_answered_is_joined_by_the_callers_id(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name, CAPTURE)
    runtime.invoke_endpoint(EndpointName=name, Body=b"x", ContentType="text/csv", Accept="text/csv", InferenceId="one")
    moment = datetime.now(UTC)
    put(f"{name}/truth/{moment:%Y/%m/%d/%H}/a.jsonl", truth("one", "5"))
    # The tiny model answers words: a prediction beside them, as a monitor writes it, is what can be joined.
    put(f"captured/{name}/a/{moment:%Y/%m/%d/%H}/b.jsonl", captured("one", "7", moment))
    wait_until(lambda: len(keys(f"captured/{name}/a/")) == 2)
    data = {"EndpointInput": {"EndpointName": name, "LocalPath": "/opt/ml/processing/input_data"}}
    define(sagemaker_client, name, data=data)
    schedule(sagemaker_client, name)

    execution = ended(sagemaker_client, name)

    assert execution["MonitoringExecutionStatus"] == "Completed", execution
    assert execution["EndpointName"] == name
    assert reports(sagemaker_client, execution)["statistics.json"]["regression_metrics"]["mae"]["value"] == 2.0
    folder = job_of(sagemaker_client, execution)["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert folder.startswith(f"s3://{BUCKET}/{name}/reports/{name}/{name}/{execution['ScheduledTime']:%Y/%m/%d}/")
    assert sagemaker_client.list_monitoring_schedules(EndpointName=name)["MonitoringScheduleSummaries"]


def test_the_constraints_of_a_baselining_job_are_those_that_are_checked(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/baseline/a.csv", "label,prediction\n1,2\n4,3\n")
    sagemaker_client.create_processing_job(**baselining(name))
    assert job_ended(sagemaker_client, "processing", name)["ProcessingJobStatus"] == "Completed"
    write(name, {"a": (1.0, 3.0), "b": (2.0, 4.0)})
    define(sagemaker_client, name, ModelQualityBaselineConfig={"BaseliningJobName": name})
    schedule(sagemaker_client, name)

    execution = ended(sagemaker_client, name)

    assert execution["MonitoringExecutionStatus"] == "CompletedWithViolations", execution
    violated = reports(sagemaker_client, execution)["constraint_violations.json"]["violations"]
    assert {violation["metric_name"] for violation in violated} == {"mae", "mse", "rmse", "r2"}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({}, "Job inputs had no data: no captured data"),
        ({"a": (1.0, None)}, "Job inputs had no data: no ground truth"),
        ({"a": (1.0, None), "b": (None, 1.0)}, "no prediction could be matched with ground truth: 1 predictions have"),
    ],
)
def test_nothing_to_measure_fails_with_its_reason(
    sagemaker_client: Any, name: str, pairs: dict[str, tuple[float | None, float | None]], said: str
) -> None:
    write(name, pairs)
    define(sagemaker_client, name)
    schedule(sagemaker_client, name)
    execution = ended(sagemaker_client, name)
    assert execution["MonitoringExecutionStatus"] == "Failed"
    assert said in execution["FailureReason"]


def test_a_job_definition_is_described_listed_tagged_and_deleted(sagemaker_client: Any, name: str) -> None:
    define(sagemaker_client, name, Tags=[{"Key": "team", "Value": "loop"}])
    described = sagemaker_client.describe_model_quality_job_definition(JobDefinitionName=name)
    assert described["ModelQualityJobInput"]["GroundTruthS3Input"] == {"S3Uri": f"s3://{BUCKET}/{name}/truth"}
    (listed,) = sagemaker_client.list_model_quality_job_definitions(NameContains=name)["JobDefinitionSummaries"]
    assert listed["MonitoringJobDefinitionArn"] == described["JobDefinitionArn"]
    assert sagemaker_client.list_tags(ResourceArn=described["JobDefinitionArn"])["Tags"][0]["Value"] == "loop"
    with pytest.raises(ClientError, match="ResourceInUse"):
        define(sagemaker_client, name)
    sagemaker_client.delete_model_quality_job_definition(JobDefinitionName=name)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker_client.describe_model_quality_job_definition(JobDefinitionName=name)


def test_a_schedule_is_described_stopped_started_updated_and_deleted(sagemaker_client: Any, name: str) -> None:
    define(sagemaker_client, name)
    schedule(sagemaker_client, name, HOURLY)
    wait_until(lambda: status(sagemaker_client, name) == "Scheduled")
    sagemaker_client.stop_monitoring_schedule(MonitoringScheduleName=name)
    assert status(sagemaker_client, name) == "Stopped"
    sagemaker_client.start_monitoring_schedule(MonitoringScheduleName=name)
    wait_until(lambda: status(sagemaker_client, name) == "Scheduled")
    assert not sagemaker_client.list_monitoring_executions(MonitoringScheduleName=name)["MonitoringExecutionSummaries"]

    sagemaker_client.update_monitoring_schedule(
        MonitoringScheduleName=name, MonitoringScheduleConfig=config(name, "NOW")
    )
    last = ended(sagemaker_client, name)
    described = sagemaker_client.describe_monitoring_schedule(MonitoringScheduleName=name)
    assert described["LastMonitoringExecutionSummary"] == last

    with pytest.raises(ClientError, match=f"is used by a monitoring schedule: {name}"):
        sagemaker_client.delete_model_quality_job_definition(JobDefinitionName=name)
    sagemaker_client.delete_monitoring_schedule(MonitoringScheduleName=name)
    sagemaker_client.delete_model_quality_job_definition(JobDefinitionName=name)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        status(sagemaker_client, name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MonitoringType": "DataQuality"}, "The MonitoringType DataQuality is not known to this SageMaker"),
        ({"MonitoringJobDefinitionName": "never"}, "Could not find model quality job definition"),
        ({"ScheduleConfig": {"ScheduleExpression": "rate(1 hour)"}}, "is not supported: use"),
        ({"ScheduleConfig": {"ScheduleExpression": "NOW"}}, "are required when ScheduleExpression is NOW"),
        (
            {
                "ScheduleConfig": {
                    "ScheduleExpression": HOURLY,
                    "DataAnalysisStartTime": "-P2D",
                    "DataAnalysisEndTime": "PT0S",
                }
            },
            "by more than 24 hours",
        ),
    ],
)
def test_a_schedule_that_can_not_work_is_refused(
    sagemaker_client: Any, name: str, changes: dict[str, Any], said: str
) -> None:
    define(sagemaker_client, name)
    with pytest.raises(ClientError, match=said):
        sagemaker_client.create_monitoring_schedule(
            MonitoringScheduleName=name, MonitoringScheduleConfig=config(name, HOURLY) | changes
        )


def test_data_quality_is_refused_by_name(sagemaker_client: Any, name: str) -> None:
    report = definition(name)["ModelQualityJobOutputConfig"]
    data = {"EndpointInput": {"EndpointName": name, "LocalPath": "/opt/ml/processing/input_data"}}
    with pytest.raises(ClientError, match="CreateDataQualityJobDefinition of sagemaker is not implemented"):
        sagemaker_client.create_data_quality_job_definition(
            JobDefinitionName=name,
            DataQualityAppSpecification={"ImageUri": ANALYZER},
            DataQualityJobInput=data,
            DataQualityJobOutputConfig=report,
            JobResources=definition(name)["JobResources"],
            RoleArn=ROLE,
        )


def test_what_runs_of_a_deleted_schedule_is_stopped(sagemaker_client: Any, name: str) -> None:
    write(name, {"a": (1.0, 2.0)})
    application = definition(name)["ModelQualityAppSpecification"]
    entrypoint = ["python3", "-c", "import time; time.sleep(600)"]
    define(sagemaker_client, name, ModelQualityAppSpecification=application | {"ContainerEntrypoint": entrypoint})
    schedule(sagemaker_client, name)
    wait_until(lambda: [one["MonitoringExecutionStatus"] for one in listed(sagemaker_client, name)] == ["InProgress"])
    sagemaker_client.delete_monitoring_schedule(MonitoringScheduleName=name)
    assert ended(sagemaker_client, name)["MonitoringExecutionStatus"] == "Stopped"


def test_a_bucket_that_is_not_there_fails_the_execution(sagemaker_client: Any, name: str) -> None:
    data = definition(name)["ModelQualityJobInput"]["BatchTransformInput"]
    nowhere = data | {"DataCapturedDestinationS3Uri": "s3://there-is-no-such-bucket/a"}
    define(sagemaker_client, name, data={"BatchTransformInput": nowhere})
    schedule(sagemaker_client, name)
    assert "NoSuchBucket" in ended(sagemaker_client, name)["FailureReason"]


def test_a_schedule_of_now_runs_once_though_the_server_is_killed(own_server: Callable[..., Any], name: str) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    write(name, {"a": (1.0, 2.0)})
    with own_server(endpoint) as server:
        define(client(endpoint, "sagemaker"), name)
        schedule(client(endpoint, "sagemaker"), name)
        wait_until(lambda: listed(client(endpoint, "sagemaker"), name))
        kill(server)
    with own_server(endpoint):
        sagemaker = client(endpoint, "sagemaker")
        execution = ended(sagemaker, name)
        assert execution["MonitoringExecutionStatus"] == "Completed", execution
        assert len(sagemaker.list_processing_jobs(NameContains="model-quality")["ProcessingJobSummaries"]) == 1


@pytest.fixture
def states(aws: Any, bucket: str, images: Path, tmp_path: Path) -> Iterator[Callable[[], Context]]:
    """Opens the state that lies in a file, as a server does that starts; nothing happens in it by itself."""
    opened: list[Context] = []

    def start() -> Context:
        for context in opened:
            context.store.close()
        services: dict[type[Any], Any] = {}
        context = Context(Settings(tmp_path, images), Store(tmp_path / "sagemaker.db"), Machine(tmp_path), services)
        services[monitoring.Monitor] = monitoring.Monitor(context)
        opened[:] = [context]
        return context

    yield start
    opened[0].store.close()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["tick", "kill", "crash"]), st.integers(0, 3 * HOUR)), max_size=6))
def test_every_slot_has_one_execution_whatever_is_killed_when(
    states: Callable[[], Context], steps: list[tuple[str, int]]
) -> None:
    context = states()
    begin, name = hourly(context)
    moment = begin
    for what, seconds in steps:
        moment += seconds
        if what == "crash":
            with mock.patch.object(executions, "start", side_effect=SystemExit), suppress(SystemExit):
                monitoring.tick(context, moment)
        if what == "tick":
            monitoring.tick(context, moment)
        else:
            context = states()
    monitoring.tick(context, moment)

    expected = list(range(int(begin // HOUR + 1) * HOUR, int(moment) + 1, HOUR))
    assert [execution["ScheduledTime"] for execution in history(context, name)] == expected
    assert all(execution["FailureReason"].startswith("Job inputs had no data") for execution in history(context, name))


def test_a_machine_that_slept_for_long_makes_up_for_a_day(states: Callable[[], Context]) -> None:
    context = states()
    begin, name = hourly(context)
    monitoring.tick(context, begin + 1000 * HOUR)
    assert len(history(context, name)) in (25, 26)
    monitoring.tick(context, begin + 1000 * HOUR)
    assert len(history(context, name)) in (25, 26)


@pytest.mark.parametrize("ending", ["StopMonitoringSchedule", "DeleteMonitoringSchedule"])
def test_a_schedule_that_ended_runs_no_more(states: Callable[[], Context], ending: str) -> None:
    context = states()
    begin, name = hourly(context)
    monitoring.tick(context, begin + HOUR)
    OPERATIONS["sagemaker", ending](context, {"MonitoringScheduleName": name})
    monitoring.tick(context, begin + 5 * HOUR)
    assert len(history(context, name)) == (1 if ending.startswith("Stop") else 0)


def hourly(context: Context) -> tuple[float, str]:
    """A new schedule of every hour over nothing: when it began, and its name."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    request = definition(name)
    OPERATIONS["sagemaker", "CreateModelQualityJobDefinition"](context, request)
    created = {"MonitoringScheduleName": name, "MonitoringScheduleConfig": config(name, HOURLY)}
    OPERATIONS["sagemaker", "CreateMonitoringSchedule"](context, created)
    schedule = OPERATIONS["sagemaker", "DescribeMonitoringSchedule"](context, {"MonitoringScheduleName": name})
    return schedule["CreationTime"], name


def history(context: Context, name: str) -> list[dict[str, Any]]:
    """The executions of a schedule, in the order of their slots."""
    request = {"MonitoringScheduleName": name, "SortBy": "ScheduledTime", "SortOrder": "Ascending", "MaxResults": 100}
    listed = OPERATIONS["sagemaker", "ListMonitoringExecutions"](context, request)
    return list(listed["MonitoringExecutionSummaries"])


def define(sagemaker: Any, name: str, limits: Mapping[str, Any] | None = None, **changes: Any) -> None:
    """A job definition over what `write` has written, or over other `data`."""
    request = definition(name, changes.pop("data", None))
    if limits is not None:
        uri = put(f"{name}/constraints.json", json.dumps(limits))
        request["ModelQualityBaselineConfig"] = {"ConstraintsResource": {"S3Uri": uri}}
    sagemaker.create_model_quality_job_definition(**request | changes)


def definition(name: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    written = {
        "BatchTransformInput": {
            "DataCapturedDestinationS3Uri": f"s3://{BUCKET}/{name}/predictions",
            "DatasetFormat": {"Json": {"Line": True}},
            "LocalPath": "/opt/ml/processing/input_data",
            "InferenceAttribute": "0",
        }
    }
    report = {"S3Uri": f"s3://{BUCKET}/{name}/reports", "LocalPath": "/opt/ml/processing/output"}
    return {
        "JobDefinitionName": name,
        "ModelQualityAppSpecification": {"ImageUri": ANALYZER, "ProblemType": "Regression"},
        "ModelQualityJobInput": {**(data or written), "GroundTruthS3Input": {"S3Uri": f"s3://{BUCKET}/{name}/truth"}},
        "ModelQualityJobOutputConfig": {"MonitoringOutputs": [{"S3Output": report}]},
        "JobResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
        "RoleArn": ROLE,
    }


def baselining(name: str) -> dict[str, Any]:
    """A job that suggests constraints from the labelled predictions below `baseline/`."""
    source = {
        "S3Uri": f"s3://{BUCKET}/{name}/baseline",
        "LocalPath": "/opt/ml/processing/input",
        "S3DataType": "S3Prefix",
    }
    target = {"S3Uri": f"s3://{BUCKET}/{name}/suggested", "LocalPath": "/opt/ml/processing/output"}
    return {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": ANALYZER},
        "Environment": {
            "dataset_format": '{"csv": {"header": true, "output_columns_position": "START"}}',
            "dataset_source": source["LocalPath"],
            "output_path": target["LocalPath"],
            "problem_type": "Regression",
            "inference_attribute": "prediction",
            "ground_truth_attribute": "label",
        },
        "ProcessingInputs": [{"InputName": "baseline", "S3Input": {**source, "S3InputMode": "File"}}],
        "ProcessingOutputConfig": {
            "Outputs": [{"OutputName": "out", "S3Output": {**target, "S3UploadMode": "EndOfJob"}}]
        },
        "ProcessingResources": definition(name)["JobResources"],
        "RoleArn": ROLE,
    }


def schedule(sagemaker: Any, name: str, expression: str = "NOW") -> None:
    sagemaker.create_monitoring_schedule(MonitoringScheduleName=name, MonitoringScheduleConfig=config(name, expression))


def config(name: str, expression: str) -> dict[str, Any]:
    window = {"DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "PT0S"}
    return {
        "ScheduleConfig": {"ScheduleExpression": expression, **window},
        "MonitoringJobDefinitionName": name,
        "MonitoringType": "ModelQuality",
    }


def status(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)["MonitoringScheduleStatus"])


def write(name: str, pairs: Mapping[str, tuple[float | None, float | None]]) -> None:
    """Predictions and what came true, by event, as if made and seen now; None is left out."""
    moment = datetime.now(UTC)
    predictions = [captured(event, str(p), moment) for event, (p, _) in pairs.items() if p is not None]
    truths = [truth(event, str(t)) for event, (_, t) in pairs.items() if t is not None]
    for folder, lines in ((f"predictions/{name}/AllTraffic", predictions), ("truth", truths)):
        if lines:
            put(f"{name}/{folder}/{moment:%Y/%m/%d/%H}/a.jsonl", "\n".join(lines))


def captured(event: str, data: str, moment: datetime) -> str:
    output = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": data, "encoding": "CSV"}
    metadata = {"eventId": event, "inferenceTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": metadata, "eventVersion": "0"})


def truth(event: str, data: str) -> str:
    label = {"data": data, "encoding": "CSV"}
    return json.dumps({"groundTruthData": label, "eventMetadata": {"eventId": event}, "eventVersion": "0"})


def listed(sagemaker: Any, name: str) -> list[dict[str, Any]]:
    return list(sagemaker.list_monitoring_executions(MonitoringScheduleName=name)["MonitoringExecutionSummaries"])


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    """The only execution of a schedule, once it has ended."""

    def look() -> dict[str, Any] | None:
        found = listed(sagemaker, name)
        assert len(found) < 2
        over = [one for one in found if one["MonitoringExecutionStatus"] not in ("Pending", "InProgress", "Stopping")]
        return over[0] if over else None

    return wait_until(look)


def job_of(sagemaker: Any, execution: Mapping[str, Any]) -> dict[str, Any]:
    return sagemaker.describe_processing_job(ProcessingJobName=execution["ProcessingJobArn"].rpartition("/")[2])


def reports(sagemaker: Any, execution: Mapping[str, Any]) -> dict[str, Any]:
    """The files that an execution has left, by name."""
    folder = job_of(sagemaker, execution)["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    prefix = folder.removeprefix(f"s3://{BUCKET}/")
    return {key.rpartition("/")[2]: json.loads(get(f"s3://{BUCKET}/{key}")) for key in keys(f"{prefix}/")}
