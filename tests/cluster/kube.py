"""What the cluster test asks of a namespace, through kubectl and helm as any person would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CALL_SECONDS = 120
_INSTANCE = "app.kubernetes.io/instance"
_COMPONENT = "app.kubernetes.io/component"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_EVERYWHERE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def run(*command: str, seconds: float = CALL_SECONDS, given: str | None = None) -> str:
    """What the command prints. Raises `AssertionError` with its last lines when it fails."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout


def until(found: Callable[[], Any], what: str, seconds: float, poll: float = 1.0) -> Any:
    """What `found` returns once it is true; an `AssertionError` of `found` counts as not yet."""
    deadline, said = time.monotonic() + seconds, ""
    while True:
        try:
            if value := found():
                return value
        except AssertionError as error:
            said = f" ({error})"
        assert time.monotonic() < deadline, f"after {seconds:.0f} s there was still no {what}{said}"
        time.sleep(poll)


class Namespace:
    """A namespace with a release of ours in it."""

    def __init__(self, name: str, release: str = "loopcast") -> None:
        self.name, self.release = name, release

    def create(self) -> None:
        """Makes it; it only takes restricted pods."""
        run("kubectl", "create", "namespace", self.name)
        run("kubectl", "label", "namespace", self.name, "pod-security.kubernetes.io/enforce=restricted")

    def remove(self) -> None:
        """Uninstalls the release, and deletes the namespace."""
        run(sys.executable, "-m", "install", "down", "--namespace", self.name, "--release", self.release, seconds=300)
        run("kubectl", "delete", "namespace", self.name, "--ignore-not-found", "--timeout=180s", seconds=200)

    def is_empty(self) -> bool:
        """Whether there is nothing in it but what every namespace has, and events."""
        kinds = run("kubectl", "api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
        kinds = [kind for kind in kinds if not kind.startswith("events")]
        left = set(self.kubectl("get", ",".join(kinds), "-o", "name").split()) - _EVERYWHERE
        assert not left, f"left: {', '.join(sorted(left))}"
        return True

    def kubectl(self, *arguments: str, seconds: float = CALL_SECONDS, given: str | None = None) -> str:
        return run("kubectl", "-n", self.name, *arguments, seconds=seconds, given=given)

    def get(self, kind: str, *selector: str) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl("get", kind, *selector, "-o", "json"))["items"])

    def pods(self, component: str = "") -> list[dict[str, Any]]:
        """The release's pods that are neither over nor on their way out, of one component or of all."""
        labels = f"{_INSTANCE}={self.release}" + (f",{_COMPONENT}={component}" if component else "")
        alive = ("Pending", "Running")
        return [
            pod
            for pod in self.get("pods", "-l", labels)
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] in alive
        ]

    def lose(self, selector: str) -> None:
        """Deletes the next pod that runs and has these labels."""

        def running() -> list[str]:
            found = self.get("pods", "-l", selector, "--field-selector", "status.phase=Running")
            return [name_of(pod) for pod in found if "deletionTimestamp" not in pod["metadata"]]

        pod = until(running, f"running pod with {selector}", 180)[0]
        self.kubectl("delete", "pod", pod, "--wait=false")

    def pod(self, component: str) -> str:
        """The name of a component's first pod that is ready."""
        found = [name_of(pod) for pod in self.pods(component) if is_ready(pod)]
        assert found, f"no pod of {component} is ready"
        return found[0]

    def components(self, managed_by: str = "") -> set[str]:
        """What the pods that should always run are of: those of Deployments and StatefulSets of the release."""
        labels = f"{_INSTANCE}={self.release}" + (f",{_MANAGED_BY}={managed_by}" if managed_by else "")
        found = self.get("deployments,statefulsets", "-l", labels)
        return {item["metadata"]["labels"][_COMPONENT] for item in found if item["spec"].get("replicas", 1)}

    def settled(self) -> bool:
        """Whether every workload of the namespace is rolled out, has all its pods, and all of them are ready."""
        workloads = self.get("deployments,statefulsets")
        unready = [name_of(item) for item in workloads if not _complete(item)]
        assert not unready, f"not ready: {', '.join(unready)}; {self.troubles()}"
        return bool(workloads)

    def troubles(self) -> str:
        """The pods that are not ready, and what their containers wait for."""
        lines = []
        for pod in self.get("pods"):
            if pod["status"]["phase"] == "Succeeded" or is_ready(pod):
                continue
            states = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
            waiting = [state["state"]["waiting"]["reason"] for state in states if "waiting" in state["state"]]
            lines.append(f"{name_of(pod)} {pod['status']['phase']} {' '.join(waiting)}")
        return "; ".join(lines) or "all pods are ready"

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[str]:
        """The URL under which a service's port is reachable here; it comes back when its pod was replaced."""
        forward = _Forward(self.name, service, port)
        try:
            yield forward.url
        finally:
            forward.stop()


class _Forward:
    """kubectl port-forward, started again whenever it ends: it does when its pod goes."""

    def __init__(self, namespace: str, service: str, port: int) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self._command = ["kubectl", "-n", namespace, "port-forward", f"service/{service}", f"{self._port}:{port}"]
        self._stopped = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        until(self._listens, f"way to {service}", 60, 0.2)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _keep(self) -> None:
        while not self._stopped.wait(0.5):
            if self._process.poll() is not None:
                self._process = self._start()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def name_of(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _complete(workload: dict[str, Any]) -> bool:
    wanted, status = workload["spec"].get("replicas", 1), workload["status"]
    seen = status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
    counts = [status.get(field, 0) for field in ("replicas", "readyReplicas", "updatedReplicas")]
    return seen and all(count == wanted for count in counts)


def has_cluster() -> bool:
    """Whether there is a cluster to test against."""
    return bool(os.environ.get("KUBECONFIG"))
