"""Model quality job definitions: what a monitoring schedule runs."""

from __future__ import annotations

from local.sagemaker import endpoints, processing
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationException
from local.sagemaker.monitoring_times import Unusable, duration
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, create, describe, page
from local.sagemaker.store import Resource

KIND = Kind(
    arn="model-quality-job-definition",
    prefix="JobDefinition",
    missing="Could not find model quality job definition {arn}.",
    taken="A model quality job definition of this name already exists: {arn}",
    newest_first=True,
    missing_error=ResourceNotFound,
)
SCHEDULES = "monitoring-schedule"
_UNKNOWN = ("RecordPreprocessorSourceUri", "PostAnalyticsProcessorSourceUri")


@operation("CreateModelQualityJobDefinition")
def create_model_quality_job_definition(context: Context, request: Json) -> Json:
    _check(context, request)
    name = request["JobDefinitionName"]
    # Lists call the same fields otherwise than Describe does.
    listed = {
        "MonitoringJobDefinitionName": name,
        "MonitoringJobDefinitionArn": KIND.arn_of(name),
        "EndpointName": endpoint_of(request) or "",
    }
    return create(context, KIND, request, {"CreationTime": now(), **listed}, error=ResourceInUse)


@operation("DescribeModelQualityJobDefinition")
def describe_model_quality_job_definition(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["JobDefinitionName"], "DescribeModelQualityJobDefinition")


@operation("ListModelQualityJobDefinitions")
def list_model_quality_job_definitions(context: Context, request: Json) -> Json:
    documents = [resource.document for resource in context.store.all(KIND.arn)]
    endpoint = request.get("EndpointName")
    kept = [document for document in documents if endpoint in (None, document["EndpointName"])]
    return page("ListModelQualityJobDefinitions", KIND, kept, request)


@operation("DeleteModelQualityJobDefinition")
def delete_model_quality_job_definition(context: Context, request: Json) -> Json:
    name = KIND.find(context, request["JobDefinitionName"]).name
    used_by = [schedule.name for schedule in context.store.all(SCHEDULES) if _uses(schedule, name)]
    if used_by:
        raise ValidationException(f"The job definition {name} is used by a monitoring schedule: {', '.join(used_by)}.")
    KIND.delete(context, name)
    return {}


def data_of(definition: Json) -> Json:
    """The input whose predictions are monitored: an EndpointInput or a BatchTransformInput."""
    inputs = definition["ModelQualityJobInput"]
    found: Json = inputs.get("EndpointInput") or inputs["BatchTransformInput"]
    return found


def endpoint_of(definition: Json) -> str | None:
    """The endpoint that is monitored; None when it is batch transform."""
    name: str | None = data_of(definition).get("EndpointName")
    return name


def _uses(schedule: Resource, definition: str) -> bool:
    return bool(schedule.document["MonitoringScheduleConfig"]["MonitoringJobDefinitionName"] == definition)


def _check(context: Context, request: Json) -> None:
    """Refuses what can't work, and what this SageMaker would have to ignore."""
    _check_application(request["ModelQualityAppSpecification"])
    _check_input(context, request["ModelQualityJobInput"])
    baseline = request.get("ModelQualityBaselineConfig", {}).get("BaseliningJobName")
    if baseline is not None:
        processing.KIND.find(context, baseline)


def _check_application(application: Json) -> None:
    problem = application.get("ProblemType")
    if problem != "Regression":
        raise ValidationException(f"The ProblemType {problem} is not known to this SageMaker: only Regression is.")
    for name in _UNKNOWN:
        if name in application:
            raise ValidationException(f"{name} is not known to this SageMaker.")


def _check_input(context: Context, inputs: Json) -> None:
    given = [name for name in ("EndpointInput", "BatchTransformInput") if name in inputs]
    if len(given) != 1:
        raise ValidationException("ModelQualityJobInput needs either an EndpointInput or a BatchTransformInput.")
    if "S3Uri" not in inputs["GroundTruthS3Input"]:
        raise ValidationException("GroundTruthS3Input needs an S3Uri.")
    if "EndpointInput" in inputs:
        endpoints.KIND.find(context, inputs["EndpointInput"]["EndpointName"])
    elif "Json" not in inputs["BatchTransformInput"]["DatasetFormat"]:
        raise ValidationException(
            "The DatasetFormat of a BatchTransformInput must be Json: this SageMaker reads records of data capture, "
            "and no Csv or Parquet."
        )
    for name in ("StartTimeOffset", "EndTimeOffset"):
        _check_offset(inputs[given[0]].get(name))


def _check_offset(text: str | None) -> None:
    try:
        if text is not None:
            duration(text)
    except Unusable as error:
        raise ValidationException(str(error)) from error
