"""How far a release is: what the API server tells of its objects, in words for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
"""An object of the API server as JSON, for example a Pod."""

NORMAL_WAITS = {"ContainerCreating", "PodInitializing"}
HOPELESS = {"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}
"""Reasons to wait that do not pass by themselves."""


@dataclass(frozen=True)
class Part:
    """A workload of the release; `waits` says what it waits for, or nothing once it is ready."""

    name: str
    ready: bool
    waits: str = ""
    hopeless: bool = False

    @property
    def line(self) -> str:
        return f"{self.name}: ready" if self.ready else f"{self.name}: {self.waits or 'starting'}"


def parts(workloads: Iterable[Object], pods: Iterable[Object]) -> list[Part]:
    """The Deployments, StatefulSets and Jobs of a release, with what their pods wait for."""
    pods = list(pods)
    return sorted((_part(workload, pods) for workload in workloads), key=lambda part: part.name)


def _part(workload: Object, pods: list[Object]) -> Part:
    name = workload["metadata"]["name"]
    if _is_ready(workload):
        return Part(name, ready=True)
    own = [pod for pod in pods if _belongs(pod, workload)]
    waits = [found for found in (waiting_for(pod) for pod in own) if found]
    return Part(name, False, waits[0] if waits else "", any(_is_hopeless(pod) for pod in own))


def _is_ready(workload: Object) -> bool:
    status, spec = workload.get("status") or {}, workload["spec"]
    if workload["kind"] == "Job":
        return any(c["type"] == "Complete" and c["status"] == "True" for c in status.get("conditions") or ())
    wanted = spec.get("replicas", 1)
    current: bool = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    running: int = min(status.get("readyReplicas") or 0, status.get("updatedReplicas") or 0)
    return bool(current and running >= wanted)


def _belongs(pod: Object, workload: Object) -> bool:
    wanted = ((workload["spec"].get("selector") or {}).get("matchLabels")) or {}
    labels = pod["metadata"].get("labels") or {}
    return bool(wanted) and all(labels.get(name) == value for name, value in wanted.items())


def waiting_for(pod: Object) -> str:
    """What a pod waits for or failed of, in words; nothing where it is ready or just starts."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"no node takes it: {condition.get('message') or condition.get('reason', '')}"
    for container in _containers(pod):
        found = _container_waits(container)
        if found:
            return found
    return ""


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _container_waits(container: Object) -> str:
    name, state = container["name"], container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") not in NORMAL_WAITS:
        message = waiting.get("message") or ""
        return f"{name} waits: {waiting.get('reason', '')}{f' ({message})' if message else ''}"
    if ended and ended.get("exitCode"):
        return f"{name} ended with {ended['exitCode']} ({ended.get('reason', 'Error')})"
    if state.get("running") is not None and not container.get("ready") and container.get("started"):
        return f"{name} runs and is not ready"
    return ""


def _is_hopeless(pod: Object) -> bool:
    states = [(container.get("state") or {}).get("waiting") or {} for container in _containers(pod)]
    return any(waiting.get("reason") in HOPELESS for waiting in states)


def failing(pods: Iterable[Object]) -> list[tuple[str, str, str]]:
    """The pods that are not well: each one's name, the container to read the log of, and what it waits for."""
    found = []
    for pod in pods:
        if pod["status"].get("phase") == "Succeeded" or not (why := waiting_for(pod)):
            continue
        unwell = next((c["name"] for c in _containers(pod) if _container_waits(c)), "")
        found.append((pod["metadata"]["name"], unwell, why))
    return found


def policy_line(policy: Object) -> str:
    """What the operator says of a policy: its state and the reason."""
    status = policy.get("status") or {}
    told = f"{status['state']} ({status.get('reason', '')})" if status.get("state") else "not looked at yet"
    return f"{policy['kind']} {policy['metadata']['name']}: {told}"


class Changes:
    """Tells a change once: `news` gives the lines of those parts whose line is another than before."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def news(self, found: Iterable[Part]) -> list[str]:
        lines = {part.name: part.line for part in found}
        fresh = [line for name, line in lines.items() if self._told.get(name) != line]
        self._told |= lines
        return fresh
