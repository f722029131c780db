"""In a cluster programs outlive their pods and this server, and what hinders them is told in words."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import free_port, kill
from tests.local.sagemaker.conftest import (
    channel,
    client,
    configure,
    deploy,
    ended,
    put,
    saw,
    settled,
    trained,
    training_job,
    wait_until,
)
from tests.local.sagemaker.kubernetes.conftest import found, kubectl

pytestmark = pytest.mark.cluster

GATE = "/tmp/gate"
Start = Callable[..., Any]


def test_a_job_whose_pod_is_deleted_begins_anew_and_completes(sagemaker_client: Any, namespace: str, name: str) -> None:
    _train(sagemaker_client, namespace, name)
    pod = _training_pod(namespace, name)
    kubectl("delete", "pod", pod, "-n", namespace, "--wait=false")
    _open_gate(namespace, _training_pod(namespace, name, but=pod))
    job = ended(sagemaker_client, "training", name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert saw(job)["files"]["input/data/train/a.json"] == "1"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_finds_its_programs_again(
    own_server: Start, namespace: str, name: str, number: signal.Signals
) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with own_server(endpoint) as server:
        sagemaker, runtime = client(endpoint, "sagemaker"), client(endpoint, "sagemaker-runtime")
        deploy(sagemaker, name)
        _train(sagemaker, namespace, name)
        before = _pods(namespace, name)
        assert len(before) == 2
        server.send_signal(number)
        server.wait(30)
        kill(server)
    assert _pods(namespace, name) == before
    _open_gate(namespace, _training_pod(namespace, name))
    with own_server(endpoint):
        job = ended(sagemaker, "training", name)
        assert runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read() == b"a/:x"
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [t["Status"] for t in job["SecondaryStatusTransitions"]].count("Training") == 1


def test_an_endpoint_whose_pod_is_deleted_answers_again_by_itself(
    sagemaker_client: Any, runtime: Any, namespace: str, name: str
) -> None:
    deploy(sagemaker_client, name)
    (pod,) = _pods(namespace, name)
    kubectl("delete", "pod", pod, "-n", namespace, "--wait=false", "--grace-period=1")

    def answers() -> bool:
        try:
            return runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read() == b"a/:x"
        except ClientError:
            return False

    wait_until(lambda: pod not in _pods(namespace, name) and answers())
    assert sagemaker_client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"


def test_a_deleted_endpoint_leaves_nothing_in_the_cluster(sagemaker_client: Any, namespace: str, name: str) -> None:
    deploy(sagemaker_client, name, a=1, b=1)
    label = f"loopcast.io/name={name}"
    assert len(found(namespace, "deployments", label)) == len(found(namespace, "services", label)) == 2
    sagemaker_client.delete_endpoint(EndpointName=name)
    wait_until(lambda: not found(namespace, "deployments,services,pods", label))


def test_a_stopped_job_leaves_nothing_in_the_cluster(sagemaker_client: Any, namespace: str, name: str) -> None:
    _train(sagemaker_client, namespace, name, do="ignore-sigterm")
    sagemaker_client.stop_training_job(TrainingJobName=name)
    assert ended(sagemaker_client, "training", name)["TrainingJobStatus"] == "Stopped"
    wait_until(lambda: not found(namespace, "jobs,pods", f"loopcast.io/name={name}"))


def test_a_job_that_no_node_can_take_says_so_and_fails(sagemaker_client: Any, name: str) -> None:
    resources = {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}
    sagemaker_client.create_training_job(**training_job(name, ResourceConfig=resources))

    def told() -> bool:
        job = sagemaker_client.describe_training_job(TrainingJobName=name)
        return "Insufficient nvidia.com/gpu" in job["SecondaryStatusTransitions"][-1]["StatusMessage"]

    wait_until(told)
    job = ended(sagemaker_client, "training", name)
    assert job["FailureReason"].startswith("InternalServerError: given up after 25 s: no node can take the pod: 0/")


def test_an_image_that_can_not_be_had_fails_the_job_and_the_endpoint(sagemaker_client: Any, name: str) -> None:
    algorithm = {"TrainingImage": "000.dkr.ecr.us-east-1.amazonaws.com/nowhere:1", "TrainingInputMode": "File"}
    sagemaker_client.create_training_job(**training_job(name, AlgorithmSpecification=algorithm))
    configure(sagemaker_client, name, image=algorithm["TrainingImage"], a=1)
    sagemaker_client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoint = wait_until(lambda: settled(sagemaker_client, name))
    job = ended(sagemaker_client, "training", name)
    for told in (job, endpoint):
        assert "given up after 25 s: the pod's container program can't start: " in told["FailureReason"]
        assert "registry.invalid/nowhere:1" in told["FailureReason"]


def test_a_program_that_uses_too_much_memory_fails_and_says_so(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, HyperParameters={"do": "exhaust"})
    assert job["FailureReason"] == "AlgorithmError: the program used more memory than its pod may, exit code: 137"


def test_objects_of_an_earlier_state_are_deleted(own_server: Start, namespace: str, name: str, tmp_path: Any) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with own_server(endpoint) as server:
        _train(client(endpoint, "sagemaker"), namespace, name)
        kill(server)
    (tmp_path / "state").rename(tmp_path / "lost")
    with own_server(endpoint):
        wait_until(lambda: not found(namespace, "jobs,pods", f"loopcast.io/name={name}"))


def _train(sagemaker: Any, namespace: str, name: str, do: str = "wait-for-file") -> None:
    """A job whose program runs, until `_open_gate` unless it does something else."""
    channels = [channel("train", put(f"{name}/a.json", "1"))]
    request = training_job(name, HyperParameters={"do": do}, Environment={"WAIT_FOR": GATE}, InputDataConfig=channels)
    sagemaker.create_training_job(**request)
    _training_pod(namespace, name)


def _training_pod(namespace: str, name: str, but: str = "") -> str:
    """The pod in which the job's program runs, once there is one that isn't `but`."""

    def running() -> str | None:
        pods = found(namespace, "pods", f"loopcast.io/name={name},loopcast.io/kind=training-job")
        return next((pod["metadata"]["name"] for pod in pods if _runs(pod) and pod["metadata"]["name"] != but), None)

    pod: str = wait_until(running)
    return pod


def _runs(pod: dict[str, Any]) -> bool:
    statuses = pod["status"].get("containerStatuses", [])
    return any(status["name"] == "program" and "running" in status["state"] for status in statuses)


def _pods(namespace: str, name: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in found(namespace, "pods", f"loopcast.io/name={name}"))


def _open_gate(namespace: str, pod: str) -> None:
    kubectl("exec", "-n", namespace, pod, "-c", "program", "--", "touch", GATE)
