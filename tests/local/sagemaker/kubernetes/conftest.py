"""SageMaker-local with its programs in pods of the cluster of KUBECONFIG, in a namespace of restricted Pod Security.

The server runs beside the tests; pods reach it at this machine's address towards the cluster. The program of the other
tests runs in the image of local AWS, LOOPCAST_LOCAL_AWS_IMAGE (default: loopcast/local-aws:0.1.0), which carries too.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml

from local.sagemaker.kubernetes.client import connect
from tests.conftest import Service, environment, free_port, running
from tests.local.sagemaker.conftest import STEP_SECONDS, _endpoints, client

IMAGE = os.environ.get("LOOPCAST_LOCAL_AWS_IMAGE", "loopcast/local-aws:0.1.0")
TINY = ["python", "-c", Path(__file__).parents[1].joinpath("program.py").read_text()]
IMAGES = {
    "images": [
        {"pattern": "*tiny:*", "image": IMAGE, "command": TINY, "metrics": {"tiny:loss": "loss=(\\S+)"}},
        {"pattern": "*nowhere:*", "image": "registry.invalid/nowhere:1"},
    ]
}
PODS = {
    "carrierImage": IMAGE,
    "waitingSeconds": 25,
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    "instances": {"ml.p4d.24xlarge": {"requests": {"nvidia.com/gpu": "8"}, "limits": {"nvidia.com/gpu": "8"}}},
    "volumeSize": "100Mi",
    "tmpSize": "100Mi",
}


def kubectl(*arguments: str, given: object = None) -> str:
    """What kubectl prints. Raises `CalledProcessError` when it refuses."""
    text = json.dumps(given) if given is not None else None
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def found(namespace: str, kind: str, selector: str = "") -> list[dict[str, Any]]:
    """The objects of a kind with these labels."""
    text = kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """A namespace that is gone after the tests."""
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        pytest.skip("KUBECONFIG is not set, or there is no kubectl: no cluster to test against")
    name = f"lc-sagemaker-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl("create", "-f", "-", given=_object("Namespace", {"name": name, "labels": labels}))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The flags that say which containers stand for images, and how pods are made."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "images.yaml").write_text(yaml.safe_dump(IMAGES))
    (folder / "pods.yaml").write_text(yaml.safe_dump(PODS))
    return ("--images", str(folder / "images.yaml"), "--pods", str(folder / "pods.yaml"))


@pytest.fixture
def own_server(
    aws: Service, bucket: str, namespace: str, files: tuple[str, ...], tmp_path: Path
) -> Callable[..., AbstractContextManager[Any]]:
    """`with own_server(endpoint) as process`: a server over this test's own state, that it can kill and start again."""

    def start(endpoint: str, *flags: str) -> AbstractContextManager[Any]:
        return running(
            "local.sagemaker", endpoint, tmp_path, *_flags(endpoint, namespace, files, tmp_path.name), *flags
        )

    return start


@pytest.fixture(scope="package")
def local(
    aws: Service, bucket: str, namespace: str, files: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The server that most of these tests share."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("s")
    flags = _flags(endpoint, namespace, files, "shared")
    with environment(_endpoints(endpoint)), running("local.sagemaker", endpoint, folder, *flags):
        yield Service(endpoint, dict(os.environ))


@pytest.fixture(scope="package")
def sagemaker_client(local: Service) -> Any:
    return client(local.endpoint, "sagemaker")


@pytest.fixture(scope="package")
def runtime(local: Service) -> Any:
    return client(local.endpoint, "sagemaker-runtime")


def _flags(endpoint: str, namespace: str, files: tuple[str, ...], server: str) -> tuple[str, ...]:
    work = f"http://{_address()}:{endpoint.rpartition(':')[2]}"
    place = ("--programs", "kubernetes", "--namespace", namespace, "--server-name", server, "--work-url", work)
    return (*place, *files, "--host", "0.0.0.0", "--step-seconds", str(STEP_SECONDS), "--grace-seconds", "2")


def _address() -> str:
    """This machine's address as the cluster sees it: that of a connection to its API server."""
    server = urlsplit(connect(None).server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((server.hostname, server.port or 443))
        return str(connection.getsockname()[0])


def _object(kind: str, metadata: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}
