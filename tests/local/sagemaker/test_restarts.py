"""A server that is killed goes on when it starts again; one that stops leaves no process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.conftest import free_port, kill
from tests.local.sagemaker.conftest import (
    BUCKET,
    IMAGE,
    ROLE,
    channel,
    client,
    ended,
    get,
    keys,
    put,
    put_model,
    saw,
    training_job,
    wait_until,
)

Start = Callable[..., Any]


@pytest.fixture
def endpoint() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_after_kill_9_jobs_and_endpoints_go_on_as_if_nothing_had_been(
    own_server: Start, endpoint: str, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with own_server(endpoint) as server:
        _deploy(endpoint, name)
        _train(endpoint, name, gate)
        assert _says(endpoint, name) == b"m/:x"
        before = _programs(tmp_path)
        kill(server)
    with own_server(endpoint):
        assert _programs(tmp_path) == before
        assert _says(endpoint, name) == b"m/:x"
        gate.touch()
        job = ended(client(endpoint, "sagemaker"), "training", name)
        wait_until(lambda: len(_captured(name)) == 2)
    assert job["TrainingJobStatus"] == "Completed", job
    assert [t["Status"] for t in job["SecondaryStatusTransitions"]].count("Training") == 1


def test_programs_that_ended_while_no_server_ran_are_seen(
    own_server: Start, endpoint: str, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with own_server(endpoint) as server:
        _deploy(endpoint, name)
        (serving,) = _programs(tmp_path)
        _train(endpoint, name, gate)
        wait_until(lambda: len(_programs(tmp_path)) == 2)
        kill(server)
    gate.touch()
    wait_until(lambda: _programs(tmp_path) == [serving])
    _kill_programs(tmp_path)
    with own_server(endpoint):
        job = ended(client(endpoint, "sagemaker"), "training", name)
        assert _says(endpoint, name) == b"m/:x"
    assert job["TrainingJobStatus"] == "Completed", job
    assert saw(job)["hyperparameters"] == {"do": "wait-for-file"}


def test_a_job_whose_program_vanishes_runs_once_more_and_then_fails_with_a_reason(
    own_server: Start, endpoint: str, name: str, tmp_path: Path
) -> None:
    with own_server(endpoint) as server:
        _train(endpoint, name, tmp_path / "gate")
        wait_until(lambda: _programs(tmp_path))
        kill(server)
    _kill_programs(tmp_path)
    with own_server(endpoint) as server:
        wait_until(lambda: _programs(tmp_path))
        kill(server)
    _kill_programs(tmp_path)
    with own_server(endpoint):
        job = ended(client(endpoint, "sagemaker"), "training", name)
    assert job["TrainingJobStatus"] == "Failed"
    assert "vanished 2 times without a result" in job["FailureReason"]


def test_a_server_that_stops_leaves_no_process_and_goes_on_with_the_next(
    own_server: Start, endpoint: str, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with own_server(endpoint) as server:
        _deploy(endpoint, name)
        _train(endpoint, name, gate)
        wait_until(lambda: len(_programs(tmp_path)) == 2)
        _stop(server)
        assert not _programs(tmp_path)
    gate.touch()
    with own_server(endpoint):
        assert ended(client(endpoint, "sagemaker"), "training", name)["TrainingJobStatus"] == "Completed"
        assert _says(endpoint, name) == b"m/:x"


def _train(endpoint: str, name: str, gate: Path) -> None:
    """A job that goes on until the file `gate` is there."""
    request = training_job(
        name,
        HyperParameters={"do": "wait-for-file"},
        Environment={"WAIT_FOR": str(gate)},
        InputDataConfig=[channel("train", put(f"{name}/a.json", "1"))],
    )
    sagemaker = client(endpoint, "sagemaker")
    sagemaker.create_training_job(**request)
    wait_until(lambda: sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Training")


def _deploy(endpoint: str, name: str) -> None:
    """An endpoint in service, all of whose requests are captured."""
    sagemaker = client(endpoint, "sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": put_model(f"{name}.tar.gz", "m")}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/{name}",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], DataCaptureConfig=capture)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait_until(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")


def _says(endpoint: str, name: str) -> bytes:
    def ask() -> bytes | None:
        try:
            return client(endpoint, "sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read()
        except ClientError:
            return None

    return wait_until(ask)


def _captured(name: str) -> list[bytes]:
    return [line for key in keys(f"{name}/{name}/") for line in get(f"s3://{BUCKET}/{key}").splitlines()]


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    server.wait(30)


def _programs(folder: Path) -> list[int]:
    """The process groups that run below a server's state folder."""
    state = str(folder / "state")
    return sorted(
        process.pid
        for process in psutil.process_iter()
        if _is_running(process) and any(part.startswith(state) for part in _line(process)[1:4])
    )


def _line(process: psutil.Process) -> list[str]:
    try:
        line = process.cmdline()
    except psutil.Error:
        return []
    return line if "contract.sh" in "".join(line) else []


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _kill_programs(folder: Path) -> None:
    for pid in _programs(folder):
        os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: not _programs(folder))
