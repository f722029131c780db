"""The chart of the job as a release of the test, in a namespace of its own, with AWS on this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from loopcast.feed import load_feed
from tests.flink.kinesis import Stream

ROOT = Path(__file__).parents[2]
SECONDS = 600
TAG = os.environ.get("LOOPCAST_IMAGE_TAG", "")
"""Of the image loopcast/flink in the cluster; "" for the chart's own."""


def run(*command: str, seconds: float = 180) -> str:
    """What the command prints. Raises `AssertionError` with its last lines when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout


def need_cluster() -> None:
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl") or not shutil.which("helm"):
        pytest.skip("KUBECONFIG is not set, or there is no kubectl or helm: no cluster to test against")


def node_address() -> str:
    """An address of this machine that pods can reach: that of a node which is this machine. Skips otherwise."""
    path = "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}"
    for address in run("kubectl", "get", "nodes", "-o", path).split():
        with socket.socket() as probe, suppress(OSError):
            probe.bind((address, 0))
            return address
    pytest.skip("no node of the cluster is this machine: its pods can't reach the AWS of this test")


@contextmanager
def forwarded(endpoint: str) -> Iterator[str]:
    """The URL under which pods reach what listens at `endpoint` on this machine's own address."""
    port = int(endpoint.rpartition(":")[2])
    with socket.create_server((node_address(), 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, port), daemon=True)
        accepting.start()
        yield f"http://{listener.getsockname()[0]}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def _accept(listener: socket.socket, port: int) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_serve, args=(near, port), daemon=True).start()


def _serve(near: socket.socket, port: int) -> None:
    with near, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Release:
    """A release of charts/flink for the feed in `feed`, whose streams it makes with `shards` shards."""

    name = "job"

    def __init__(self, namespace: str, feed: Path, endpoint: str, folder: Path) -> None:
        self.namespace, self._feed, self.lateness = namespace, feed, int(load_feed(feed).window.lateness * 1000)
        self._chart = folder / "charts" / "flink"
        shutil.copytree(ROOT / "charts", folder / "charts", ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))
        run("helm", "dependency", "build", str(self._chart))
        self._values = folder / "values.yaml"
        values = {
            "global": {
                "feed": feed.read_text(),
                "image": {"tag": TAG},
                "aws": {"local": True, "endpoint": endpoint},
            },
            "job": {"checkpointSeconds": 1},
            # Small enough for a node that runs much else.
            **{part: {"resources": {"requests": {"cpu": "20m"}}} for part in ("jobManager", "taskManager")},
        }
        self._values.write_text(json.dumps(values))

    def make_streams(self, shards: int) -> None:
        prefix = f"loopcast-{load_feed(self._feed).name}"
        self.events = Stream(shards, f"{prefix}-transactions")
        self.minutes, self.late = Stream(1, f"{prefix}-minutes"), Stream(1, f"{prefix}-late")

    def upgrade(self, given: Mapping[str, Any], wait: bool = True) -> None:
        """Installs or upgrades it."""
        flags = [f"--set-json={key}={json.dumps(value)}" for key, value in given.items()]
        flags += ["--wait", f"--timeout={SECONDS}s"] if wait else []
        self.helm("upgrade", "--install", self.name, str(self._chart), "-f", str(self._values), *flags)

    def helm(self, *arguments: str) -> str:
        return run("helm", "-n", self.namespace, *arguments, seconds=SECONDS + 60)

    def kubectl(self, *arguments: str) -> str:
        return run("kubectl", "-n", self.namespace, *arguments)

    def kill(self, part: str) -> None:
        """SIGKILL to the pod of `part`, without grace."""
        label = f"app.kubernetes.io/component=flink-{part}"
        self.kubectl("delete", "pod", "-l", label, "--force", "--grace-period=0")

    def ready(self, part: str) -> bool:
        path = "jsonpath={.status.readyReplicas}"
        return self.kubectl("get", "deployment", f"{self.name}-flink-{part}", "-o", path) == "1"

    def objects(self) -> set[str]:
        """Everything in the namespace but what Kubernetes itself puts there."""
        kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets"
        given = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
        return set(self.kubectl("get", kinds, "-o", "name").split()) - given

    def logs(self, part: str) -> str:
        return self.kubectl("logs", f"deployment/{self.name}-flink-{part}", "--tail=-1")

    def wait_until(self, what: str, reached: Callable[[], object]) -> None:
        """An `AssertionError` of `reached` counts as not yet: there may be no pod to ask."""
        deadline = time.monotonic() + SECONDS
        while True:
            with suppress(AssertionError):
                if reached():
                    return
            assert time.monotonic() < deadline, f"no {what} in {SECONDS} s:\n{self._state()}"
            time.sleep(1)

    def _state(self) -> str:
        selector = f"app.kubernetes.io/instance={self.name}"
        commands = (["get", "pods"], ["logs", "-l", selector, "--tail=60", "--prefix"])
        return "\n".join(self.kubectl(*command) for command in commands)
