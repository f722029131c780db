"""The processing job of a monitoring execution: which folders of hours it reads, and what it is told.

Inputs, outputs and variables are those that AWS gives the built-in container; only the merging of predictions with
ground truth, a job of its own on AWS, is left to the analyzer, which gets both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

from local.sagemaker import endpoint_configs, endpoints, job_definitions, processing, storage
from local.sagemaker.context import Context
from local.sagemaker.monitoring_times import Window, hours, window
from local.sagemaker.registry import Json
from local.sagemaker.store import Resource

_BASE = "/opt/ml/processing"
_BASELINE = f"{_BASE}/baseline/constraints"
_GROUND_TRUTH = f"{_BASE}/groundtruth"
_DEEPEST = 2


class NoData(Exception):
    """Nothing lies in the window that an execution is to look at; the message is its FailureReason."""


def job_request(context: Context, schedule: Resource, name: str, slot: float) -> Json:
    """The request of CreateProcessingJob for the execution of `slot`, with the job's `name`.

    Raises `NoData`, `Unusable` or `ServiceError`, and botocore's errors when S3 refuses or does not answer."""
    config = schedule.document["MonitoringScheduleConfig"]
    definition = job_definitions.KIND.find(context, config["MonitoringJobDefinitionName"]).document
    data = job_definitions.data_of(definition)
    looked_at = window(config["ScheduleConfig"], data, slot)
    inputs = _inputs(context, definition, looked_at, slot)
    constraints = _constraints(context, definition)
    application = definition["ModelQualityAppSpecification"]
    specification = ("ImageUri", "ContainerEntrypoint", "ContainerArguments")
    return {
        "ProcessingJobName": name,
        "ProcessingInputs": [*_baseline(constraints), *inputs],
        "ProcessingOutputConfig": _output(definition, schedule.name, slot),
        "ProcessingResources": definition["JobResources"],
        "AppSpecification": {key: application[key] for key in specification if key in application},
        "Environment": _environment(definition, schedule.name, looked_at, constraints),
        "RoleArn": definition["RoleArn"],
        "StoppingCondition": definition.get("StoppingCondition", {"MaxRuntimeInSeconds": 3600}),
        **({"NetworkConfig": definition["NetworkConfig"]} if "NetworkConfig" in definition else {}),
    }


def _environment(definition: Json, schedule: str, looked_at: Window, constraints: str | None) -> dict[str, str]:
    """The variables of the built-in container, and the user's own on top."""
    application, data = definition["ModelQualityAppSpecification"], job_definitions.data_of(definition)
    endpoint = job_definitions.endpoint_of(definition)
    optional = {
        "inference_attribute": data.get("InferenceAttribute"),
        "sagemaker_endpoint_name": endpoint,
        "baseline_constraints": constraints and f"{_BASELINE}/{PurePosixPath(constraints).name}",
    }
    return {
        "analysis_type": "MODEL_QUALITY",
        "problem_type": application["ProblemType"],
        "dataset_format": '{"sagemakerCaptureJson":{"captureIndexNames":["endpointOutput"]}}',
        "dataset_source": data["LocalPath"],
        "ground_truth_source": _GROUND_TRUTH,
        "output_path": definition["ModelQualityJobOutputConfig"]["MonitoringOutputs"][0]["S3Output"]["LocalPath"],
        "start_time": _stamp(looked_at.start),
        "end_time": _stamp(math.ceil(looked_at.end)),  # of NOW: what was predicted in this second counts
        "metric_time": _stamp(looked_at.start),
        "sagemaker_monitoring_schedule_name": schedule,
        "publish_cloudwatch_metrics": "Enabled",
        **{name: value for name, value in optional.items() if value},
        **application.get("Environment", {}),
    }


def _stamp(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _output(definition: Json, schedule: str, slot: float) -> Json:
    """The reports go to a folder of the endpoint, the schedule and the hour."""
    target = definition["ModelQualityJobOutputConfig"]["MonitoringOutputs"][0]["S3Output"]
    endpoint = job_definitions.endpoint_of(definition)
    (hour,) = hours(slot, slot + 1)
    folder = "/".join([target["S3Uri"].rstrip("/"), *([endpoint] if endpoint else []), schedule, hour])
    upload = {"S3UploadMode": "EndOfJob", **target, "S3Uri": folder}
    return {"Outputs": [{"OutputName": "result", "S3Output": upload}]}


def _constraints(context: Context, definition: Json) -> str | None:
    """The address of the baseline's constraints: as given, or what the baselining job has left."""
    baseline = definition.get("ModelQualityBaselineConfig", {})
    uri: str | None = baseline.get("ConstraintsResource", {}).get("S3Uri")
    if uri is None and "BaseliningJobName" in baseline:
        job = processing.KIND.find(context, baseline["BaseliningJobName"]).document
        outputs = job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        if not outputs:
            raise NoData(f"The baselining job {baseline['BaseliningJobName']} has no output.")
        uri = f"{outputs[0]['S3Output']['S3Uri'].rstrip('/')}/constraints.json"
    return uri


def _baseline(constraints: str | None) -> list[Json]:
    return [_input("constraints", constraints, _BASELINE)] if constraints else []


def _inputs(context: Context, definition: Json, looked_at: Window, slot: float) -> list[Json]:
    """An input for each folder of an hour in which something lies. Raises `NoData`."""
    data, truth = job_definitions.data_of(definition), definition["ModelQualityJobInput"]["GroundTruthS3Input"]
    source = _source(context, data)
    captured = list(_folders(_data_folders(source), hours(looked_at.start, looked_at.end)))
    # Labels may come until the schedule's time: their folders are those of the hours in which they were collected.
    labels = list(_folders([truth["S3Uri"].rstrip("/")], hours(looked_at.start, max(looked_at.end, slot))))
    for found, what, where in ((captured, "captured data", source), (labels, "ground truth", truth["S3Uri"])):
        if not found:
            period = f"{_stamp(looked_at.start)} to {_stamp(looked_at.end)}"
            raise NoData(f"Job inputs had no data: no {what} lies below {where} for {period}.")
    return [
        *_numbered("groundtruth_input", labels, truth["S3Uri"].rstrip("/"), _GROUND_TRUTH),
        *_numbered("endpoint_input", captured, source.rpartition("/")[0], data["LocalPath"]),
    ]


def _source(context: Context, data: Json) -> str:
    """The folder of captured predictions, without a slash at its end. Raises `NoData` or `ServiceError`."""
    if "DataCapturedDestinationS3Uri" in data:
        return str(data["DataCapturedDestinationS3Uri"]).rstrip("/")
    endpoint = endpoints.KIND.find(context, data["EndpointName"]).document
    config = endpoint_configs.KIND.find(context, endpoint["EndpointConfigName"]).document
    if "DataCaptureConfig" not in config:
        raise NoData(f"The endpoint {data['EndpointName']} captures no data.")
    return f"{config['DataCaptureConfig']['DestinationS3Uri'].rstrip('/')}/{data['EndpointName']}"


def _data_folders(source: str) -> list[str]:
    """The folders below `source` that hold folders of years: itself, those of variants, or of endpoints' variants."""
    found, level = [source], [source]
    for _ in range(_DEEPEST):
        level = [folder for parent in level for folder in storage.folders_in(parent) if not _is_year(folder)]
        found += level
    return found


def _is_year(folder: str) -> bool:
    name = folder.rpartition("/")[2]
    return len(name) == 4 and name.isdigit()


def _folders(parents: Sequence[str], of_hours: Sequence[str]) -> Iterator[str]:
    """The folders of hours that are there; asks once a day and parent, however many hours there are."""
    days = dict.fromkeys(hour.rpartition("/")[0] for hour in of_hours)
    wanted = {f"{parent}/{hour}" for parent in parents for hour in of_hours}
    for parent in parents:
        for day in days:
            yield from (folder for folder in storage.folders_in(f"{parent}/{day}") if folder in wanted)


def _numbered(name: str, folders: Sequence[str], root: str, local: str) -> list[Json]:
    """Inputs that lie below `local` as they lie below `root`."""
    return [
        _input(f"{name}_{number}", folder, f"{local.rstrip('/')}/{folder.removeprefix(f'{root}/')}")
        for number, folder in enumerate(folders, 1)
    ]


def _input(name: str, uri: str, local: str) -> Json:
    source = {
        "S3Uri": uri,
        "LocalPath": local,
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": name, "AppManaged": False, "S3Input": source}
