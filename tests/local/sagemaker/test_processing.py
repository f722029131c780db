"""Processing jobs run as they do on AWS."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import BUCKET, IMAGE, ROLE, ended, get, put


def test_inputs_and_outputs_are_at_their_local_paths(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in/a.txt", "hello")
    script = """
        import pathlib, os
        base = pathlib.Path("/opt/ml/processing")
        text = (base / "in" / "a.txt").read_text()
        (base / "out" / "b.txt").write_text(text + os.environ["GREETING"])
        pathlib.Path("/opt/ml/output/message").write_text("done well")
    """
    job = _processed(sagemaker_client, name, script)
    assert job["ProcessingJobStatus"] == "Completed", job
    assert get(f"s3://{BUCKET}/{name}/out/b.txt") == b"hello!"
    assert job["ExitMessage"] == "done well"
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]


def test_an_exit_code_fails_the_job_and_nothing_is_uploaded(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in/a.txt", "hello")
    script = """
        import pathlib, sys
        pathlib.Path("/opt/ml/processing/out/b.txt").write_text("half")
        sys.exit(3)
    """
    job = _processed(sagemaker_client, name, script)
    assert job["ProcessingJobStatus"] == "Failed"
    assert "exit code: 3" in job["FailureReason"]
    with pytest.raises(ClientError):
        get(f"s3://{BUCKET}/{name}/out/b.txt")


def test_a_job_is_deleted_once_it_has_ended(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/in/a.txt", "hello")
    put(f"{name}/code/run.py", "import time; time.sleep(600)")
    sagemaker_client.create_processing_job(**_request(name))
    with pytest.raises(ClientError, match="A processing job can be deleted only when it has ended"):
        sagemaker_client.delete_processing_job(ProcessingJobName=name)
    sagemaker_client.stop_processing_job(ProcessingJobName=name)
    assert ended(sagemaker_client, "processing", name)["ProcessingJobStatus"] == "Stopped"
    sagemaker_client.delete_processing_job(ProcessingJobName=name)
    with pytest.raises(ClientError, match="Could not find requested job"):
        sagemaker_client.describe_processing_job(ProcessingJobName=name)


def test_a_local_path_outside_the_folder_of_processing_is_refused(sagemaker_client: Any, name: str) -> None:
    request = _request(name)
    request["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/opt/ml/processing/../../etc"
    with pytest.raises(ClientError, match="must lie in /opt/ml/processing"):
        sagemaker_client.create_processing_job(**request)


def _processed(sagemaker: Any, name: str, script: str) -> dict[str, Any]:
    put(f"{name}/code/run.py", textwrap.dedent(script))
    sagemaker.create_processing_job(**_request(name))
    return ended(sagemaker, "processing", name)


def _request(name: str) -> dict[str, Any]:
    target = {
        "S3Uri": f"s3://{BUCKET}/{name}/out",
        "LocalPath": "/opt/ml/processing/out",
        "S3UploadMode": "EndOfJob",
    }
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3"],
            "ContainerArguments": ["/opt/ml/processing/code/run.py"],
        },
        "Environment": {"GREETING": "!"},
        "ProcessingInputs": [_input(name, "in"), _input(name, "code")],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": target}]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
    }


def _input(name: str, folder: str) -> dict[str, Any]:
    source = {
        "S3Uri": f"s3://{BUCKET}/{name}/{folder}",
        "LocalPath": f"/opt/ml/processing/{folder}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    return {"InputName": folder, "S3Input": source}
