"""Processing jobs: their operations, and their run with inputs and outputs at their local paths."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

from local.sagemaker import programs, storage
from local.sagemaker.context import Context, now
from local.sagemaker.environment import common_environment
from local.sagemaker.errors import ResourceLimitExceeded, ValidationException
from local.sagemaker.images import find_image
from local.sagemaker.jobs import JOBS, Job, JobFailed, create_job, delete_job, stop_job
from local.sagemaker.places import Program, Task
from local.sagemaker.programs import BASE
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, describe, listing

KIND = Kind(
    arn="processing-job",
    prefix="ProcessingJob",
    missing="Could not find requested job with name: {name}",
    taken="Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
)
_LONGEST_MESSAGE = 1024


@operation("CreateProcessingJob")
def create_processing_job(context: Context, request: Json) -> Json:
    if request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] > 1:
        raise ResourceLimitExceeded(
            "The account-level service limit 'instances of a processing job' is 1: all instances are this machine."
        )
    for part in [*request.get("ProcessingInputs", []), *_outputs(request)]:
        _check_part(part)
    stopping = {"MaxRuntimeInSeconds": 86_400, **request.get("StoppingCondition", {})}
    return create_job(context, ProcessingJob, request, {"StoppingCondition": stopping})


@operation("DescribeProcessingJob")
def describe_processing_job(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["ProcessingJobName"])


@operation("ListProcessingJobs")
def list_processing_jobs(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListProcessingJobs", request)


@operation("StopProcessingJob")
def stop_processing_job(context: Context, request: Json) -> Json:
    return stop_job(context, ProcessingJob, request)


@operation("DeleteProcessingJob")
def delete_processing_job(context: Context, request: Json) -> Json:
    return delete_job(context, ProcessingJob, request)


class ProcessingJob(Job):
    kind: ClassVar[Kind] = KIND
    log_group = "/aws/sagemaker/ProcessingJobs"
    started_field = "ProcessingStartTime"
    ended_field = "ProcessingEndTime"

    def perform(self) -> None:
        self.step()
        code = self.wait(self.program(self._launch))
        self._keep_message()
        if code != 0:
            raise JobFailed(f"AlgorithmError: See job logs for more information, exit code: {code}")
        for output in _outputs(self.document):
            target = output["S3Output"]
            storage.upload(self._local(target["LocalPath"]), target["S3Uri"])
        self.step()

    def _launch(self) -> Program:
        document = self.document
        specification = document["AppSpecification"]
        image = find_image(self.context.settings.images, specification["ImageUri"])
        self._prepare(document)
        entrypoint = specification.get("ContainerEntrypoint", [])
        if not image.runs and not entrypoint:
            raise JobFailed(f"ClientError: the image {image.uri} has no program of its own: give ContainerEntrypoint")
        self.set(ProcessingStartTime=now(), LastModifiedTime=now())
        environment = {
            **common_environment(image.python),
            "PROCESSING_JOB_NAME": document["ProcessingJobName"],
            "PROCESSING_JOB_ARN": document["ProcessingJobArn"],
            **document.get("Environment", {}),
        }
        instance = document["ProcessingResources"]["ClusterConfig"].get("InstanceType", "")
        arguments = specification.get("ContainerArguments", [])
        task = Task(self.folder, image, arguments, environment, entrypoint=entrypoint, instance=instance)
        return self.context.place.start(task)

    def _prepare(self, document: Json) -> None:
        base = programs.make_folder(self.folder)
        (base / "config").mkdir()
        (base / "output").mkdir()
        (base / "config" / "processingjobconfig.json").write_text(json.dumps(document))
        hosts = {"current_host": "algo-1", "hosts": ["algo-1"]}
        (base / "config" / "resourceconfig.json").write_text(json.dumps(hosts))
        for part in document.get("ProcessingInputs", []):
            self.check()
            storage.download(part["S3Input"], self._local(part["S3Input"]["LocalPath"]))
        for output in _outputs(document):
            self._local(output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)

    def _local(self, path: str) -> Path:
        """Where a path that the program sees below /opt/ml lies for us."""
        return self.base / Path(path).relative_to(BASE)

    def _keep_message(self) -> None:
        message = self.base / "output" / "message"
        if message.exists():
            self.set(ExitMessage=message.read_text(errors="replace")[:_LONGEST_MESSAGE])


JOBS.append(ProcessingJob)


def _outputs(document: Json) -> list[Json]:
    outputs: list[Json] = document.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return outputs


def _check_part(part: Json) -> None:
    """Refuses inputs and outputs that aren't S3, or lie where this machine's own files might."""
    name = part.get("InputName") or part.get("OutputName")
    place = part.get("S3Input") or part.get("S3Output")
    if place is None:
        raise ValidationException(f"{name} has neither S3Input nor S3Output: this SageMaker knows nothing else.")
    path = os.path.normpath(place.get("LocalPath", ""))
    if path != f"{BASE}/processing" and not path.startswith(f"{BASE}/processing/"):
        raise ValidationException(f"The LocalPath of {name} must lie in {BASE}/processing, not at {path!r}.")
