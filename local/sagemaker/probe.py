"""`python -m local.sagemaker.probe aws|sagemaker`: asks local AWS, or SageMaker, to do what it is there for.

`aws` puts an object and gets it again, and sends a record through a Kinesis stream. `sagemaker` trains a model, serves
it and asks it for a forecast. What either makes it deletes. It exits with 1 and a sentence when something doesn't work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from loopcast import aws

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/probe/loopcast-empirical:1"
_ROLE = "arn:aws:iam::000000000000:role/probe"
_INSTANCE = "ml.m5.large"
_POLL_SECONDS = 0.5


class Broken(Exception):
    """Something doesn't work; the message says what."""


def main() -> None:
    arguments = _parser().parse_args()
    deadline = time.monotonic() + arguments.seconds
    try:
        {"aws": probe_aws, "sagemaker": probe_sagemaker}[arguments.what](f"probe-{uuid.uuid4().hex[:12]}", deadline)
    except (Broken, BotoCoreError, ClientError) as error:
        sys.exit(f"{arguments.what} doesn't work: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.sagemaker.probe", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("aws", "sagemaker"))
    parser.add_argument("--seconds", type=float, default=600.0, help="the most that it may take (default: %(default)s)")
    return parser


def probe_aws(name: str, deadline: float) -> None:
    """S3 and Kinesis, there and back."""
    with _bucket(name):
        _put(name, "object", b"there and back")
        found = aws.client("s3").get_object(Bucket=name, Key="object")["Body"].read()
        if found != b"there and back":
            raise Broken(f"S3 gave {found!r} for an object that was put as b'there and back'")
        print("S3: an object was put and got", flush=True)
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    try:
        _until(lambda: _is_active(name), deadline, f"the stream {name} doesn't become ACTIVE")
        put = kinesis.put_record(StreamName=name, PartitionKey="a", Data=b"there and back")
        start = {"StreamName": name, "ShardId": put["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(**start)["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        if [record["Data"] for record in records] != [b"there and back"]:
            raise Broken(f"Kinesis gave {records!r} for one record that was put")
        print("Kinesis: a record was put and got", flush=True)
    finally:
        kinesis.delete_stream(StreamName=name)


def probe_sagemaker(name: str, deadline: float) -> None:
    """A training job, and an endpoint of its model."""
    with _bucket(name):
        _put(name, "train/series.jsonl", json.dumps(_series()).encode())
        model = _train(name, deadline)
        print("SageMaker: a training job has completed", flush=True)
        with _endpoint(name, model):
            describe = aws.client("sagemaker").describe_endpoint
            _settled(lambda: describe(EndpointName=name), "EndpointStatus", "InService", deadline)
            request = {"instances": [_series()], "configuration": {"output_types": ["quantiles"], "quantiles": ["0.5"]}}
            runtime = aws.client("sagemaker-runtime")
            said = runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=json.dumps(request))
            answer = json.loads(said["Body"].read())
            if answer != {"predictions": [{"quantiles": {"0.5": [2.0, 2.0]}}]}:
                raise Broken(f"the endpoint's forecast of 1, 2, 3 is {answer}, not 2")
            print("SageMaker: an endpoint has answered", flush=True)


def _series() -> dict[str, Any]:
    return {"start": "2026-01-01 00:00:00", "target": [1.0, 2.0, 3.0]}


def _train(name: str, deadline: float) -> str:
    """Trains; the model's address."""
    sagemaker = aws.client("sagemaker")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/train/", "S3DataDistributionType": "FullyReplicated"}
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=_ROLE,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        HyperParameters={"prediction_length": "2", "context_length": "3", "time_freq": "1min"},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{name}/models"},
        ResourceConfig={"InstanceType": _INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    try:
        describe = sagemaker.describe_training_job
        job = _settled(lambda: describe(TrainingJobName=name), "TrainingJobStatus", "Completed", deadline)
    except Broken:
        with suppress(ClientError):  # it has ended already
            sagemaker.stop_training_job(TrainingJobName=name)
        raise
    return str(job["ModelArtifacts"]["S3ModelArtifacts"])


@contextmanager
def _endpoint(name: str, model: str) -> Iterator[None]:
    sagemaker = aws.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": model}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=_ROLE, PrimaryContainer=container)
    variant = {"VariantName": "a", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": _INSTANCE}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    try:
        yield
    finally:
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName=name)


@contextmanager
def _bucket(name: str) -> Iterator[None]:
    """A bucket that is gone afterwards."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    try:
        yield
    finally:
        for item in s3.list_objects_v2(Bucket=name).get("Contents", []):
            s3.delete_object(Bucket=name, Key=item["Key"])
        s3.delete_bucket(Bucket=name)


def _put(bucket: str, key: str, body: bytes) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)


def _is_active(stream: str) -> bool:
    described = aws.client("kinesis").describe_stream_summary(StreamName=stream)
    return bool(described["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")


def _settled(describe: Callable[[], dict[str, Any]], field: str, wanted: str, deadline: float) -> dict[str, Any]:
    """What is described once `field` is what is wanted. Raises `Broken` when it fails, with its reason."""
    described: dict[str, Any] = {}

    def look() -> bool:
        described.update(describe())
        if described[field] in ("Failed", "Stopped"):
            raise Broken(f"{field} is {described[field]}: {described.get('FailureReason', 'no reason is given')}")
        return bool(described[field] == wanted)

    _until(look, deadline, f"{field} does not become {wanted}")
    return described


def _until(condition: Callable[[], bool], deadline: float, otherwise: str) -> None:
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"{otherwise} in time")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
