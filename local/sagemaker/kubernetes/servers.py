"""A served model in a Deployment, behind a Service."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from local.sagemaker.kubernetes import logs, pods
from local.sagemaker.kubernetes.client import Api, ApiError
from local.sagemaker.kubernetes.view import View, within

_LOG_SECONDS = 3.0


class DeploymentProgram:
    """The server of the Deployment `name`. The cluster starts it again whenever it ends, so that it has ended for good
    only when the Deployment is gone."""

    def __init__(self, api: Api, view: View, folder: Path, run: str, name: str, waiting_seconds: float) -> None:
        self.folder = folder
        self.began = time.time()
        self._api, self._view, self._run, self._name = api, view, run, name
        self._waiting_seconds = waiting_seconds
        self._created = time.monotonic()
        self._stuck_since: float | None = None
        self._logged = 0.0

    @property
    def waiting(self) -> str:
        """Why a pod of it doesn't run."""
        found = self._view.look().pods.get(self._run, [])
        said = next((words for pod in found if not pods.is_over(pod) and (words := pods.waiting(pod))), "")
        return said or ("" if found else self._refusal())

    @property
    def reason(self) -> str:
        found = self._view.look().pods.get(self._run, [])
        said = next((words for pod in found if (words := pods.failure(pod))), "")
        return said or self._stuck() or ("the Kubernetes Deployment is gone" if self.wait(0) else "")

    @property
    def has_failed(self) -> bool:
        found = self._view.look().pods.get(self._run, [])
        failed = any(pods.failure(pod) for pod in found)
        if failed:
            self._read_logs()
        return failed or bool(self._stuck()) or self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether the Deployment is gone within `seconds`."""
        return within(seconds, self._look)

    def terminate(self) -> None:
        """Deletes the Deployment, and with it its Service; its pods get SIGTERM."""
        self._read_logs()
        with suppress(ApiError):
            self._api.delete("deployments", self._name)

    def stop(self, grace_seconds: float) -> None:
        """Deletes the Deployment; its pods end by themselves after it."""
        self.terminate()
        self.wait(grace_seconds)

    def _look(self) -> bool:
        """Whether the Deployment is gone."""
        seen = self._view.look()
        if time.monotonic() > self._logged + _LOG_SECONDS:
            self._read_logs()
        return self._run not in seen.deployments and seen.at > self._created

    def _stuck(self) -> str:
        """Why it is given up; empty when it isn't."""
        waiting = self.waiting
        if not waiting:
            self._stuck_since = None
            return ""
        self._stuck_since = self._stuck_since or time.monotonic()
        over = time.monotonic() > self._stuck_since + self._waiting_seconds
        return f"given up after {self._waiting_seconds:.0f} s: {waiting}" if over else ""

    def _refusal(self) -> str:
        """What the cluster says of pods that it doesn't even make."""
        deployment = self._view.look().deployments.get(self._run, {})
        for condition in deployment.get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return f"no pod could be made: {condition.get('message', '')}"
        return ""

    def _read_logs(self) -> None:
        self._logged = time.monotonic()
        for pod in self._view.look().pods.get(self._run, []):
            state = pods.program(pod).get("state", {})
            restarted = pods.restarts(pod) > 0 or "terminated" in state  # then it may have been by now
            if restarted or "running" in state:
                logs.pull(self._api, self.folder, pod["metadata"]["name"], restarted=restarted)
