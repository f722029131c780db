"""Batch transform jobs: their operations, and their run against a server that lives as long as the job."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import urllib3

from local.sagemaker import storage
from local.sagemaker.batches import MEGABYTE, TooLarge, assemble, payloads
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ValidationException
from local.sagemaker.images import find_image
from local.sagemaker.jobs import JOBS, Job, JobFailed, create_job, stop_job
from local.sagemaker.logs import LogShipper
from local.sagemaker.models import KIND as MODEL
from local.sagemaker.models import container_of
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, describe, listing
from local.sagemaker.serving import NotServed, Server, start_server
from loopcast import aws

KIND = Kind(
    arn="transform-job",
    prefix="TransformJob",
    missing="Could not find requested job with name: {name}",
    taken="Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    newest_first=True,
)
_STOP_SECONDS = 2.0
_INVOCATION_SECONDS = 600.0
_PATIENCE_SECONDS = 300.0  # nobody waits for an answer: a server that starts again may take its time


@operation("CreateTransformJob")
def create_transform_job(context: Context, request: Json) -> Json:
    MODEL.find(context, request["ModelName"])
    _check(request)
    document = {
        "MaxConcurrentTransforms": request.get("MaxConcurrentTransforms", 1),
        "MaxPayloadInMB": request.get("MaxPayloadInMB", 6),
        "BatchStrategy": request.get("BatchStrategy", "MultiRecord"),
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **request["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", **request["TransformOutput"]},
    }
    return create_job(context, TransformJob, request, document)


@operation("DescribeTransformJob")
def describe_transform_job(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["TransformJobName"])


@operation("ListTransformJobs")
def list_transform_jobs(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListTransformJobs", request)


@operation("StopTransformJob")
def stop_transform_job(context: Context, request: Json) -> Json:
    return stop_job(context, TransformJob, request)


class TransformJob(Job):
    """A transform job that is taken up again begins anew: it writes the same objects once more."""

    kind: ClassVar[Kind] = KIND
    log_group = "/aws/sagemaker/TransformJobs"
    started_field = "TransformStartTime"
    ended_field = "TransformEndTime"

    def perform(self) -> None:
        if self.adoptable is not None:
            self.adoptable.stop(_STOP_SECONDS)
        self.step()
        document = self.document
        self.set(TransformStartTime=now())
        shipper = LogShipper(self.folder / "log", self.log_group, f"{self.name}/algo-1")
        server = self._start(document)
        try:
            server.await_healthy(self.check, None)
            self._transform_all(document, server)
        except NotServed as error:
            raise JobFailed(f"AlgorithmError: {error}") from error
        finally:
            server.program.stop(_STOP_SECONDS)
            shipper.ship()
        self.step()

    def _start(self, document: Json) -> Server:
        container = container_of(self.context, document["ModelName"])
        image = find_image(self.context.settings.images, container.image)
        environment = {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": _strategy(document),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(document["MaxConcurrentTransforms"]),
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(document["MaxPayloadInMB"]),
            **document.get("Environment", {}),
        }
        instance = document.get("TransformResources", {}).get("InstanceType", "")
        return start_server(
            self.context.place,
            self.folder,
            container,
            image,
            environment,
            instance=instance,
            patience=_PATIENCE_SECONDS,
        )

    def _transform_all(self, document: Json, server: Server) -> None:
        uri = document["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        bucket, prefix = aws.split_s3(uri)
        keys = list(storage.keys_under(uri))
        if not keys:
            raise storage.StorageError(f"No S3 objects found under S3 URL {uri!r}")
        target = document["TransformOutput"]["S3OutputPath"].rstrip("/")
        for key in keys:
            self.check()
            answers = self._transform(document, server, storage.read(bucket, key), key)
            storage.write(f"{target}/{storage.relative_key(prefix, key)}.out", answers)

    def _transform(self, document: Json, server: Server, content: bytes, key: str) -> bytes:
        """The output of one object."""
        bodies = payloads(
            content,
            split=document["TransformInput"]["SplitType"],
            strategy=document["BatchStrategy"],
            most=document["MaxPayloadInMB"] * MEGABYTE,
        )
        send = self._sender(document, server, key)
        try:
            with ThreadPoolExecutor(max(1, document["MaxConcurrentTransforms"])) as pool:
                return assemble(pool.map(send, bodies), document["TransformOutput"]["AssembleWith"])
        except TooLarge as error:
            raise JobFailed(f"ClientError: {key}: {error}") from error

    def _sender(self, document: Json, server: Server, key: str) -> Callable[[bytes], bytes]:
        headers = {}
        if "ContentType" in document["TransformInput"]:
            headers["Content-Type"] = document["TransformInput"]["ContentType"]
        if "Accept" in document["TransformOutput"]:
            headers["Accept"] = document["TransformOutput"]["Accept"]
        seconds = document.get("ModelClientConfig", {}).get("InvocationsTimeoutInSeconds", _INVOCATION_SECONDS)

        def send(body: bytes) -> bytes:
            self.check()
            try:
                answer = server.invoke(body, headers, seconds)
            except urllib3.exceptions.HTTPError as error:
                raise JobFailed(f"AlgorithmError: {key}: /invocations did not answer: {error}") from error
            if answer.status != 200:
                said = answer.body.decode(errors="replace")[:500]
                whose = "ClientError" if answer.status < 500 else "AlgorithmError"
                raise JobFailed(f"{whose}: {key}: /invocations answered {answer.status}: {said}")
            return answer.body

        return send


JOBS.append(TransformJob)


def _strategy(document: Json) -> str:
    """As the contract words it for the program."""
    return "SINGLE_RECORD" if document["BatchStrategy"] == "SingleRecord" else "MULTI_RECORD"


def _check(request: Json) -> None:
    """Refuses what this SageMaker would have to ignore."""
    source = request["TransformInput"]
    known = {
        "TransformInput.SplitType": (source.get("SplitType", "None"), ("None", "Line")),
        "TransformInput.CompressionType": (source.get("CompressionType", "None"), ("None",)),
        "S3DataSource.S3DataType": (source["DataSource"]["S3DataSource"]["S3DataType"], ("S3Prefix",)),
    }
    for name, (value, values) in known.items():
        if value not in values:
            raise ValidationException(f"{name} {value} is not known to this SageMaker: use {' or '.join(values)}.")
    for name in ("DataProcessing", "DataCaptureConfig"):
        if name in request:
            raise ValidationException(f"{name} of transform jobs is not known to this SageMaker.")
