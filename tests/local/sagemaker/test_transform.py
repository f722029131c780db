"""Batch transform jobs run as they do on AWS."""

from __future__ import annotations

from typing import Any

from tests.local.sagemaker.conftest import BUCKET, IMAGE, ROLE, ended, get, keys, put, put_model


def test_every_object_is_transformed_by_the_model_with_the_jobs_environment(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in/a.jsonl", "1\n2\n3\n")
    put(f"{name}/in/deep/b.jsonl", "4\n")
    job = _transformed(sagemaker_client, name, Environment={"GREETING": "job"})
    assert job["TransformJobStatus"] == "Completed", job
    assert keys(f"{name}/out/") == [f"{name}/out/a.jsonl.out", f"{name}/out/deep/b.jsonl.out"]
    assert get(f"s3://{BUCKET}/{name}/out/a.jsonl.out") == b"m/job:1\nm/job:2\nm/job:3\n"
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]


def test_single_records_and_parallel_requests_keep_the_order(sagemaker_client: Any, name: str) -> None:
    lines = [str(number) for number in range(40)]
    put(f"{name}/in/a.jsonl", "\n".join(lines))
    _transformed(sagemaker_client, name, BatchStrategy="SingleRecord", MaxConcurrentTransforms=4)
    written = get(f"s3://{BUCKET}/{name}/out/a.jsonl.out").decode().splitlines()
    assert written == [f"m/model:{line}" for line in lines]


def test_an_object_that_is_named_itself_keeps_its_name(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in", "1")
    _transformed(sagemaker_client, name)
    assert keys(f"{name}/out/") == [f"{name}/out/in.out"]


def test_a_refused_record_fails_the_job_with_what_the_model_said(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in/a.jsonl", "bad")
    job = _transformed(sagemaker_client, name)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == f"ClientError: {name}/in/a.jsonl: /invocations answered 400: m/model:bad"


def test_a_model_that_does_not_start_fails_the_job_with_the_end_of_its_log(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in/a.jsonl", "1")
    job = _transformed(sagemaker_client, name, Environment={"CRASH": "yes"})
    assert job["TransformJobStatus"] == "Failed"
    assert "this model can't be loaded" in job["FailureReason"]


def _transformed(sagemaker: Any, name: str, **changes: Any) -> dict[str, Any]:
    container = {
        "Image": IMAGE,
        "ModelDataUrl": put_model(f"{name}/model.tar.gz", "m"),
        "Environment": {"GREETING": "model"},
    }
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in"}}
    request = {
        "TransformJobName": name,
        "ModelName": name,
        "TransformInput": {"DataSource": source, "ContentType": "application/jsonlines", "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{name}/out", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    sagemaker.create_transform_job(**(request | changes))
    return ended(sagemaker, "transform", name)
