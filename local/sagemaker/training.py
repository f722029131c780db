"""Training jobs: their operations, and their run under the container contract."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

from local.sagemaker import hosts, programs, storage
from local.sagemaker.context import Context, now
from local.sagemaker.environment import training_environment
from local.sagemaker.errors import ResourceLimitExceeded, ValidationException
from local.sagemaker.images import find_image
from local.sagemaker.jobs import JOBS, Job, JobFailed, JobStopped, create_job, delete_job, stop_job
from local.sagemaker.places import Program, Task
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, describe, listing
from local.sagemaker.store import Resource

KIND = Kind(
    arn="training-job",
    prefix="TrainingJob",
    missing="Requested resource not found.",
    taken="Training job names must be unique within an AWS account and region, "
    "and a training job with this name already exists ({arn})",
)
MOST_INSTANCES = 4
_FAULTS = ("AlgorithmError: ", "ClientError: ", "InternalServerError: ")
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading the training image",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Failed": "Training job failed",
}


@operation("CreateTrainingJob")
def create_training_job(context: Context, request: Json) -> Json:
    return start_training_job(context, request)


def start_training_job(context: Context, request: Json, **fields: str) -> Json:
    """Creates the job; `fields` are more of what Describe answers."""
    algorithm = request.get("AlgorithmSpecification", {})
    if "TrainingImage" not in algorithm:
        raise ValidationException("AlgorithmSpecification.TrainingImage is missing: this SageMaker runs images only.")
    _check_instances(context, request)
    _check_channels(request.get("InputDataConfig", []), len(_hosts(request)))
    document = {
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [_transition("Starting")],
        "ModelArtifacts": {"S3ModelArtifacts": _artifact_uri(request)},
        "AlgorithmSpecification": {**algorithm, "MetricDefinitions": metric_definitions(context, algorithm)},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400, **request.get("StoppingCondition", {})},
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
        "ProfilingStatus": "Disabled",
        **fields,
    }
    return create_job(context, TrainingJob, request, document)


@operation("DescribeTrainingJob")
def describe_training_job(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["TrainingJobName"])


@operation("ListTrainingJobs")
def list_training_jobs(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListTrainingJobs", request)


@operation("StopTrainingJob")
def stop_training_job(context: Context, request: Json) -> Json:
    answer = stop_job(context, TrainingJob, request)
    context.store.change(KIND.arn, request["TrainingJobName"], _note_stopping)
    return answer


@operation("DeleteTrainingJob")
def delete_training_job(context: Context, request: Json) -> Json:
    return delete_job(context, TrainingJob, request)


class TrainingJob(Job):
    kind: ClassVar[Kind] = KIND
    log_group = "/aws/sagemaker/TrainingJobs"
    started_field = "TrainingStartTime"
    ended_field = "TrainingEndTime"

    def perform(self) -> None:
        self.step()
        program = self.program(self._launch)
        try:
            code = self.wait(program)
        except JobStopped:
            self._upload()
            raise
        self._keep_metrics()
        if code != 0:
            raise JobFailed(self._reason(code))
        self.enter("Uploading")
        self._upload()
        self.step()

    def end(self, status: str, secondary: str | None = None, **fields: Any) -> None:
        super().end(status, secondary, **fields)
        for base in hosts.other_bases(self.folder, _hosts(self.document)):
            shutil.rmtree(base, ignore_errors=True)

    def enter(self, status: str) -> None:
        """Moves to a secondary status."""
        self.change(lambda resource: _enter(resource.document, status))

    def _launch(self) -> Program:
        """From nothing to a running program, which with several hosts runs theirs."""
        document = self.document
        image = find_image(self.context.settings.images, document["AlgorithmSpecification"]["TrainingImage"])
        self.enter("Downloading")
        self._prepare(document)
        self.step()
        self.enter("Training")
        self.set(TrainingStartTime=now())
        place, algorithm = self.context.place, document["AlgorithmSpecification"]
        base = place.base_directory(self.folder)
        entrypoint, arguments = algorithm.get("ContainerEntrypoint", []), algorithm.get("ContainerArguments", [])
        task = Task(
            self.folder,
            image,
            arguments if entrypoint else ["train", *arguments],
            training_environment(document, base, image.python, place.interface),
            entrypoint=entrypoint,
            names=_hosts(document),
            instance=document.get("ResourceConfig", {}).get("InstanceType", ""),
        )
        return place.start(task)

    def tell(self, waiting: str) -> None:
        super().tell(waiting)
        said = waiting or _MESSAGES["Training"]
        last = self.document["SecondaryStatusTransitions"][-1]
        if last["Status"] == "Training" and last["StatusMessage"] != said:
            self.change(lambda resource: _say(resource.document, said))

    def _prepare(self, document: Json) -> None:
        base = programs.make_folder(self.folder)
        names = _hosts(document)
        others = hosts.make_folders(self.folder, names)
        for host, place in {hosts.LEADER: base, **others}.items():
            _lay_out(place, _configuration(document, host, self.context.place.interface))
        for channel in document.get("InputDataConfig", []):
            self.check()
            source = channel["DataSource"]["S3DataSource"]
            storage.download(source, base / "input" / "data" / channel["ChannelName"])
        for place in others.values():
            shutil.copytree(base / "input" / "data", place / "input" / "data", dirs_exist_ok=True)
        checkpoints = document.get("CheckpointConfig", {}).get("S3Uri")
        if checkpoints and any(storage.keys_under(checkpoints)):
            storage.download({"S3Uri": checkpoints}, base / "checkpoints")

    def _upload(self) -> None:
        """The model, what else the program leaves, and its checkpoints."""
        document = self.document
        hosts.gather(self.folder, _hosts(document))
        uri = document["ModelArtifacts"]["S3ModelArtifacts"]
        if uri.endswith(".tar.gz"):
            storage.upload_archive(self.base / "model", self.folder / "opt" / "model.tar.gz", uri)
        else:
            storage.upload(self.base / "model", uri)
        if any((self.base / "output" / "data").iterdir()):
            output = f"{uri.rsplit('/output/', 1)[0]}/output/output.tar.gz"
            storage.upload_archive(self.base / "output" / "data", self.folder / "opt" / "output.tar.gz", output)
        if "CheckpointConfig" in document:
            storage.upload(self.base / "checkpoints", document["CheckpointConfig"]["S3Uri"])

    def _reason(self, code: int) -> str:
        """What the program has written down, with whose fault it is: the built-in algorithms say so themselves."""
        bases = [self.base, *hosts.other_bases(self.folder, _hosts(self.document))]
        failures = [file for base in bases if (file := base / "output" / "failure").exists()]
        said = failures[0].read_text(errors="replace").strip() if failures else ""
        reason = said or "see the log for more information"
        prefix = "" if reason.startswith(_FAULTS) else "AlgorithmError: "
        return f"{prefix}{reason}, exit code: {code}"

    def logs(self) -> list[tuple[Path, str]]:
        """The log of each host."""
        names = _hosts(self.document)[1:]
        return [*super().logs(), *((hosts.folder_of(self.folder, name) / "log", name) for name in names)]

    def _keep_metrics(self) -> None:
        definitions = self.document["AlgorithmSpecification"]["MetricDefinitions"]
        text = (self.folder / "log").read_text(errors="replace")
        metrics = [
            {"MetricName": definition["Name"], "Value": value, "Timestamp": now()}
            for definition in definitions
            for value in last_value(definition["Regex"], text)
        ]
        if metrics:
            self.set(FinalMetricDataList=metrics)

    def _write_end(self, resource: Resource, secondary: str, fields: Json) -> None:
        document = resource.document
        document.update(fields)
        _enter(document, secondary)
        last = document["SecondaryStatusTransitions"][-1]
        last["EndTime"] = max(document["TrainingEndTime"], last["StartTime"])
        if "TrainingStartTime" in document:
            seconds = max(1, round(document["TrainingEndTime"] - document["TrainingStartTime"]))
            document.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds)


JOBS.append(TrainingJob)


def last_value(expression: str, text: str) -> list[float]:
    """The number that the expression's first group finds last in a log; empty when it finds none."""
    found = list(re.finditer(expression, text))
    try:
        return [float(found[-1].group(1))]
    except (ValueError, IndexError):
        return []


def _hosts(document: Json) -> list[str]:
    return hosts.names_of(document.get("ResourceConfig", {}).get("InstanceCount", 1))


def _lay_out(base: Path, configuration: Json) -> None:
    """The folders and the configuration that a program finds below `base`."""
    for part in ("input/data", "input/config", "model", "output/data", "code", "checkpoints"):
        (base / part).mkdir(parents=True)
    for name, content in configuration.items():
        (base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))


def _configuration(document: Json, host: str, interface: str) -> dict[str, Any]:
    """The files of /opt/ml/input/config of a host, by their names without `.json`."""
    kind = document.get("ResourceConfig", {}).get("InstanceType", "local")
    names = _hosts(document)
    group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": names}
    checkpoint = document.get("CheckpointConfig")
    return {
        "hyperparameters": document.get("HyperParameters", {}),
        "resourceconfig": {
            "current_host": host,
            "current_instance_type": kind,
            "current_group_name": "homogeneousCluster",
            "hosts": names,
            "instance_groups": [group],
            "network_interface_name": interface,
        },
        "inputdataconfig": {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in document.get("InputDataConfig", [])
        },
        **({"checkpointconfig": checkpoint} if checkpoint else {}),
    }


def _check_instances(context: Context, request: Json) -> None:
    """Raises `ResourceLimitExceeded` for what the place where programs run can't be."""
    resources = request.get("ResourceConfig", {})
    count = resources.get("InstanceCount", 1)
    if count > MOST_INSTANCES or resources.get("InstanceGroups"):
        raise ResourceLimitExceeded(
            f"The account-level service limit 'instances of a training job' is {MOST_INSTANCES}, in one group: "
            "all instances are this machine."
        )
    refusal = context.place.refusal(count)
    if refusal:
        raise ResourceLimitExceeded(refusal)


def _check_channels(channels: list[Json], count: int) -> None:
    for channel in channels:
        source = channel["DataSource"].get("S3DataSource", {})
        if source.get("S3DataType") not in ("S3Prefix", "ManifestFile"):
            raise ValidationException(
                f"The channel {channel['ChannelName']} has no S3DataSource of S3DataType S3Prefix or ManifestFile: "
                "this SageMaker reads nothing else."
            )
        if source.get("S3DataDistributionType") == "ShardedByS3Key" and count > 1:
            raise ValidationException(
                f"The channel {channel['ChannelName']} can't be sharded here: use FullyReplicated."
            )
        if channel.get("InputMode") == "Pipe":
            raise ValidationException(f"The channel {channel['ChannelName']} can't be a pipe here: use InputMode File.")


def _artifact_uri(request: Json) -> str:
    output = request["OutputDataConfig"]
    folder = f"{output['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output"
    return f"{folder}/model/" if output.get("CompressionType") == "NONE" else f"{folder}/model.tar.gz"


def metric_definitions(context: Context, algorithm: Json) -> list[Json]:
    """Those of the request, and those of the image; an image that isn't known fails the job, not the request."""
    own = list(algorithm.get("MetricDefinitions", []))
    try:
        image = find_image(context.settings.images, algorithm.get("TrainingImage", ""))
    except LookupError:
        return own
    taken = {definition["Name"] for definition in own}
    return own + [{"Name": name, "Regex": regex} for name, regex in image.metrics.items() if name not in taken]


def _transition(status: str) -> Json:
    return {"Status": status, "StartTime": now(), "StatusMessage": _MESSAGES[status]}


def _enter(document: Json, status: str) -> None:
    transitions = document["SecondaryStatusTransitions"]
    if transitions[-1]["Status"] == status:
        return
    transition = _transition(status)
    transitions[-1]["EndTime"] = transition["StartTime"]
    transitions.append(transition)
    document.update(SecondaryStatus=status, LastModifiedTime=transition["StartTime"])


def _say(document: Json, message: str) -> None:
    document["SecondaryStatusTransitions"][-1]["StatusMessage"] = message


def _note_stopping(resource: Resource) -> None:
    if resource.document["TrainingJobStatus"] == "Stopping":
        _enter(resource.document, "Stopping")
