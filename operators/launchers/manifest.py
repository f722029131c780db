"""The Kubernetes Job of a run: a template's, with a name, labels, the reason and the program's arguments; pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from operators.models import iso
from operators.policies import GROUP
from operators.runs import Run

CONTAINER = "pipeline"
"""The container of the template that is given the arguments."""
RUN_ID, RECURRING, BEGAN = f"{GROUP}/run-id", f"{GROUP}/recurring", f"{GROUP}/event-time"
BACKOFF_LIMIT = 6
KEPT_SECONDS = 7 * 86400
"""How long a finished Job and its log stay: long enough for a person to look after a weekend."""
DEADLINE_SECONDS = 86400
"""The longest that a Job may take on the wall; a policy's runTimeout comes first, this ends what nobody follows."""
MOVED = (130, 137, 143)
"""How the program ends when its pod is deleted, or killed for its memory: then it runs again."""
_LONGEST_LABEL = 63


class TemplateError(ValueError):
    """A template that can't be used; the message says why."""


@dataclass(frozen=True)
class Order:
    """What is to run as the Job `name`: `labels` and `annotations` without their prefix, `recurs` is what it recurs
    as."""

    name: str
    run_id: str
    arguments: Sequence[str]
    pipeline: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    recurs: bool = False


def read_template(path: Path) -> dict[str, Any]:
    """The Job that a file holds. Raises `TemplateError`."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TemplateError(f"The template {path} can't be read: {error}") from error
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != ("batch/v1", "Job"):
        raise TemplateError(f"The template {path} is no Job of batch/v1.")
    try:
        images = [item.get("image") for item in _pod(document)["containers"] if item.get("name") == CONTAINER]
    except (KeyError, TypeError, AttributeError) as error:
        raise TemplateError(f"The template {path} has no spec.template.spec.containers.") from error
    if len(images) != 1 or not images[0]:
        raise TemplateError(f"The template {path} has no container {CONTAINER} with an image.")
    return document


def job(template: Mapping[str, Any], order: Order, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    """The Job to be created. What the template says about retries, deadlines and time to live stays."""
    made = copy.deepcopy(dict(template))
    labels, annotations = _labels(order), _annotations(order)
    metadata = made.setdefault("metadata", {})
    metadata["name"] = order.name
    metadata["labels"] = {**_DEFAULT_LABELS, **metadata.get("labels", {}), **labels}
    metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}
    if owner:
        metadata["ownerReferences"] = [dict(owner)]
    spec = made["spec"]
    spec |= {**_DEFAULTS, "podFailurePolicy": _failure_policy(), **spec}
    if order.recurs:  # its Jobs are the memory of when it ran: the launcher removes the old ones
        del spec["ttlSecondsAfterFinished"]
    head = spec["template"].setdefault("metadata", {})
    head["labels"] = {**_DEFAULT_LABELS, **head.get("labels", {}), **labels}
    head["annotations"] = {**_UNMOVED, **head.get("annotations", {})}
    spec["template"]["spec"]["restartPolicy"] = "Never"
    container = next(item for item in _pod(made)["containers"] if item["name"] == CONTAINER)
    container["args"] = list(order.arguments)
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return made


def order(run: Run, arguments: Sequence[str]) -> Order:
    """What a claimed run comes to."""
    why = {"reason": run.reason, "trigger": run.trigger, "event-time": iso(run.launched_at), **run.tags}
    return Order(run.id, run.id, arguments, run.pipeline, {"policy": run.policy}, why)


def label(value: str) -> str:
    """`value` as a label may be: where it isn't one, its beginning and a hash."""
    if re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value):
        return value
    head = re.sub(r"[^A-Za-z0-9]+", "-", value)[: _LONGEST_LABEL - 9].strip("-")
    return f"{head}-{sha256(value.encode()).hexdigest()[:8]}".lstrip("-")


def _pod(document: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]["template"]["spec"]
    return spec


def _labels(order: Order) -> dict[str, str]:
    known = {"pipeline": order.pipeline, "run-id": order.run_id, **order.labels}
    ours = {f"{GROUP}/{key}": label(value) for key, value in known.items() if value}
    return {"app.kubernetes.io/managed-by": "loopcast-operator", **ours}


def _annotations(order: Order) -> dict[str, str]:
    return {f"{GROUP}/{key}": value for key, value in order.annotations.items() if value}


def _failure_policy() -> dict[str, Any]:
    """A pod that was evicted, drained or preempted runs again and does not count; one that was deleted runs again and
    counts; one whose program fails would fail again."""
    failed = {"containerName": CONTAINER, "operator": "NotIn", "values": list(MOVED)}
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": failed},
        ]
    }


_DEFAULT_LABELS = {
    "app.kubernetes.io/name": "loopcast",
    "app.kubernetes.io/component": CONTAINER,
    "app.kubernetes.io/part-of": "loopcast",
}
_DEFAULTS = {
    "backoffLimit": BACKOFF_LIMIT,
    "ttlSecondsAfterFinished": KEPT_SECONDS,
    "activeDeadlineSeconds": DEADLINE_SECONDS,
    "podReplacementPolicy": "Failed",
}
_UNMOVED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""Who makes a cluster smaller waits for the run, which would begin a step anew."""
