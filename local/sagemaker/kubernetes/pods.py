"""What a pod's status says of its program, in words; pure functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from local.sagemaker.kubernetes.manifests import PROGRAM

Json = dict[str, Any]
_STUCK = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
)


def waiting(pod: Json) -> str:
    """Why the pod doesn't run; empty when nothing hinders it."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"no node can take the pod: {condition.get('message', condition.get('reason', ''))}"
    for status in _statuses(pod):
        state = status.get("state", {}).get("waiting", {})
        if state.get("reason") in _STUCK:
            return f"the pod's container {status['name']} can't start: {state['reason']}: {state.get('message', '')}"
    return ""


def program(pod: Json) -> Json:
    """The status of the program's container; empty while there is none."""
    return next((status for status in _statuses(pod) if status["name"] == PROGRAM), {})


def ended(pod: Json) -> Json | None:
    """How the program ended by itself (`exitCode`, `reason`); None while it runs, or when its pod is taken away."""
    terminated: Json | None = program(pod).get("state", {}).get("terminated")
    return None if "deletionTimestamp" in pod["metadata"] or is_disrupted(pod) else terminated


def failure(pod: Json) -> str:
    """How a server's program has ended that is to go on for ever; empty when it hasn't."""
    status = program(pod)
    for state in (status.get("state", {}), status.get("lastState", {})):
        if "terminated" in state and "deletionTimestamp" not in pod["metadata"]:
            return words(state["terminated"])
    return ""


def words(terminated: Json) -> str:
    """A container's end in a sentence's part."""
    reason = terminated.get("reason", "")
    extra = f" ({reason})" if reason not in ("", "Error", "Completed") else ""
    return f"the program ended with exit code {terminated['exitCode']}{extra}"


def is_disrupted(pod: Json) -> bool:
    """Whether the cluster takes the pod away, for another to take its place."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(item["type"] == "DisruptionTarget" and item["status"] == "True" for item in conditions)


def overran(pod: Json) -> str:
    """What the pod was evicted for where another would be as well; empty when it wasn't."""
    status = pod.get("status", {})
    message = str(status.get("message", ""))
    own_fault = status.get("reason") == "Evicted" and not message.startswith("The node was low")
    return message if own_fault and "exceed" in message else ""


def is_over(pod: Json) -> bool:
    """Whether the pod is finished or about to be."""
    return "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def restarts(pod: Json) -> int:
    """How often the program was started again in its pod."""
    return int(program(pod).get("restartCount", 0))


def began(pod: Json) -> float | None:
    """When the program began, in seconds since the epoch."""
    state = program(pod).get("state", {})
    moment = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return datetime.fromisoformat(moment).timestamp() if moment else None


def newest(pods: list[Json]) -> Json | None:
    """The pod that was made last."""
    return max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]), default=None)


def _statuses(pod: Json) -> list[Json]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
