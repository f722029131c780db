"""A program in a Kubernetes Job, and the hosts of a distributed training, a Job each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from local.sagemaker import programs
from local.sagemaker.kubernetes import logs, pods
from local.sagemaker.kubernetes.client import Api, ApiError
from local.sagemaker.kubernetes.view import LOOK_SECONDS, Seen, View, within

Json = dict[str, Any]
_LOG_SECONDS = 1.0
_STORE_SECONDS = 120.0
_GONE_SECONDS = 30.0
_HOST_GRACE_SECONDS = 10.0
_PATIENT_SECONDS = 5.0


class JobProgram:
    """The program of the Job `name`, which lives in `folder`. It has ended when its exit code is in the folder, put
    there together with its files; or without one when the Job is gone or given up, and then `reason` says why."""

    def __init__(self, api: Api, view: View, folder: Path, run: str, name: str, waiting_seconds: float) -> None:
        self.folder = folder
        self.reason = ""
        self.waiting = ""
        self.began = time.time()
        self._api, self._view, self._run, self._name = api, view, run, name
        self._waiting_seconds = waiting_seconds
        self._created = time.monotonic()
        self._stuck_since: float | None = None
        self._logged = 0.0
        self._ended = False

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether the program has ended within `seconds`."""
        return within(seconds, self._look)

    def terminate(self) -> None:
        """The carrier ends the program, when it next asks what to do; a Job whose program doesn't run is deleted."""
        ask_to_stop(self.folder, _HOST_GRACE_SECONDS)

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL after `grace_seconds`; what the program left is stored. Then the Job is deleted."""
        ask_to_stop(self.folder, grace_seconds)
        deadline = time.monotonic() + grace_seconds + _STORE_SECONDS
        while self._is_running() and time.monotonic() < deadline and not self.wait(LOOK_SECONDS):
            continue
        self.delete()

    def delete(self) -> None:
        """Returns when the Job is gone, or soon will be."""
        with suppress(ApiError):
            self._api.delete("jobs", self._name, 0)
        if not self._ended:
            self.wait(_GONE_SECONDS)

    def _is_running(self) -> bool:
        """Whether a carrier is there that will do what it is told."""
        found = self._view.look().pods.get(self._run, [])
        return any(pods.program(pod).get("state", {}).keys() & {"running", "terminated"} for pod in found)

    def _look(self) -> bool:
        if not self._ended:
            self._ended = self._ends(self._view.look())
        return self._ended

    def _ends(self, seen: Seen) -> bool:
        if programs.exit_code(self.folder) is not None:
            return True
        job, found = seen.jobs.get(self._run), seen.pods.get(self._run, [])
        pod = pods.newest(found)
        if pod is not None:
            self._read_log(pod)
            self.began = pods.began(pod) or time.time()
        if job is None:
            return self._give_up(f"the Kubernetes Job {self._name} is gone") if seen.at > self._created else False
        failed = _failed(job) or next((said for one in found if (said := pods.overran(one))), "")
        if failed:
            self._drop()
            return self._give_up(f"the Kubernetes Job {self._name} failed: {failed}")
        return self._is_stuck(pod)

    def _is_stuck(self, pod: Json | None) -> bool:
        """Whether the pod has waited for too long; `waiting` says what for."""
        self.waiting = self._no_pod() if pod is None else pods.waiting(pod)
        if not self.waiting:
            self._stuck_since = None
            return False
        self._stuck_since = self._stuck_since or time.monotonic()
        if time.monotonic() < self._stuck_since + self._waiting_seconds:
            return False
        self._give_up(f"given up after {self._waiting_seconds:.0f} s: {self.waiting}")
        self._drop()
        return True

    def _drop(self) -> None:
        with suppress(ApiError):
            self._api.delete("jobs", self._name)

    def _no_pod(self) -> str:
        """Why the Job has made no pod; quotas and policies are told in events only."""
        if time.monotonic() < self._created + _PATIENT_SECONDS:
            return ""
        selector = f"involvedObject.kind=Job,involvedObject.name={self._name}"
        with suppress(ApiError):
            said = [item["message"] for item in self._api.list("events", fieldSelector=selector) if item.get("message")]
            return f"no pod could be made: {said[-1]}" if said else ""
        return ""

    def _give_up(self, reason: str) -> bool:
        self.reason = reason
        return True

    def _read_log(self, pod: Json) -> None:
        if time.monotonic() > self._logged + _LOG_SECONDS and pods.program(pod).get("state", {}).keys() - {"waiting"}:
            self._logged = time.monotonic()
            logs.pull(self._api, self.folder, pod["metadata"]["name"])


class HostsProgram:
    """The hosts of the training job in `folder`, by name. When one fails the others are stopped, and its exit code is
    the job's."""

    def __init__(self, folder: Path, hosts: Mapping[str, JobProgram]) -> None:
        self.folder = folder
        self._hosts = dict(hosts)

    @property
    def began(self) -> float:
        return max(host.began for host in self._hosts.values())

    @property
    def waiting(self) -> str:
        said = {name: host.waiting for name, host in self._hosts.items() if host.waiting}
        return "; ".join(f"{name}: {waiting}" for name, waiting in said.items())

    @property
    def reason(self) -> str:
        return next((host.reason for host in self._hosts.values() if host.reason), "")

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether the program has ended within `seconds`."""
        return within(seconds, self._look)

    def terminate(self) -> None:
        for host in self._hosts.values():
            host.terminate()

    def stop(self, grace_seconds: float) -> None:
        for host in self._hosts.values():
            ask_to_stop(host.folder, grace_seconds)
        for host in self._hosts.values():
            host.stop(grace_seconds)
        self._look()

    def _look(self) -> bool:
        ended = [name for name, host in self._hosts.items() if host.wait(0)]
        codes = {name: programs.exit_code(self._hosts[name].folder) for name in ended}
        failed = next((name for name in ended if codes[name] != 0), None)
        if failed is None and len(ended) < len(self._hosts):
            return False
        if failed is not None and len(ended) < len(self._hosts):
            self._end_others(failed)
        code = 0 if failed is None else codes[failed]
        if code is not None and programs.exit_code(self.folder) is None:
            with suppress(OSError):
                (self.folder / "exit_code").write_text(str(code))
        return True

    def _end_others(self, failed: str) -> None:
        with suppress(OSError), (self.folder / "log").open("a") as log:
            log.write(f"the host {failed} has failed: the others are stopped\n")
        others = [host for name, host in self._hosts.items() if name != failed and not host.wait(0)]
        for host in others:
            ask_to_stop(host.folder, _HOST_GRACE_SECONDS)
        for host in others:
            host.stop(_HOST_GRACE_SECONDS)


def ask_to_stop(folder: Path, grace_seconds: float) -> None:
    """Notes that the program in `folder` is to end, for its carrier to ask."""
    with suppress(OSError):
        if not (folder / "stop").exists():
            (folder / "stop").write_text(json.dumps({"since": time.time(), "grace": grace_seconds}))


def _failed(job: Json) -> str:
    """Why the Job has failed for good; empty when it hasn't."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == "Failed" and condition["status"] == "True":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return ""
