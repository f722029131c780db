"""The objects that stand for programs; pure functions of what is to run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.sagemaker.carry import FAILED
from local.sagemaker.kubernetes.settings import PodSettings, Resources

Json = dict[str, Any]

PREFIX = "loopcast.io"
SERVER, RUN, KIND, NAME = f"{PREFIX}/server", f"{PREFIX}/run", f"{PREFIX}/kind", f"{PREFIX}/name"
FOLDER = f"{PREFIX}/folder"
PROGRAM, CARRIER = "program", "carry"
PORT = 8080
_KEPT_SECONDS = 600
_MOST_PODS = 20
_SERVER_GRACE_SECONDS = 10
_USER = 65532
_SECURE: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": _USER,
}


@dataclass(frozen=True)
class Run:
    """One start of a program. `folder` is its folder below the server's state, `run` tells this start from others of
    the same folder, `work_url` is where its files are and `token` proves that they are its own. A host of several has a
    `host` name, and its `peers` are found below the headless Service `group`."""

    folder: str
    run: str
    server: str
    image: str
    environment: Mapping[str, str]
    work_url: str
    token: str
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    instance: str = ""
    count: int = 1
    host: str = ""
    peers: tuple[str, ...] = ()
    group: str = ""
    owner: Json | None = None

    @property
    def name(self) -> str:
        """The name of its objects."""
        return name_of(self.folder, self.run)


def name_of(folder: str, run: str) -> str:
    """What it is, and which start of it: a DNS label, short enough for what pods add to it."""
    return f"{slug(folder)[: 49 - len(run)].rstrip('-')}-{run}"


def slug(folder: str) -> str:
    """A DNS label's beginning for a folder: the job's name; or the endpoint's and the variant's."""
    kind, name, *rest = folder.split("/")
    words = [name, rest[-1].rpartition("-")[0] if kind == "endpoint" else rest[-1]] if rest else [name]
    text = re.sub("[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")
    return text if text[:1].isalpha() else f"p-{text}".rstrip("-")


def job(run: Run, settings: PodSettings, namespace: str) -> Json:
    """A Job for a program that runs to its end.

    Only a program that failed by itself fails the Job at once: a pod that was evicted or deleted is replaced. Which of
    them it was, the carrier says by its exit code, since a program may end with any code when it gets SIGTERM.
    """
    template = _pod(run, settings, namespace)
    template["spec"] |= {
        "restartPolicy": "Never",
        # So the carrier can end the program when the job is stopped, and outlives it to keep its files.
        "shareProcessNamespace": True,
        "containers": [
            _program(run, settings),
            _carrier(run, settings, CARRIER, "keep"),
        ],
    }
    rules = [
        {"action": "FailJob", "onExitCodes": {"containerName": CARRIER, "operator": "In", "values": [FAILED]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    spec = {
        "backoffLimit": _MOST_PODS,
        "podFailurePolicy": {"rules": rules},
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "template": template,
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(run, settings), "spec": spec}


def deployment(run: Run, settings: PodSettings, namespace: str) -> Json:
    """A Deployment for a server."""
    template = _pod(run, settings, namespace)
    program = _program(run, settings) | {
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {
            "httpGet": {"path": "/ping", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
    }
    template["spec"] |= {"terminationGracePeriodSeconds": _SERVER_GRACE_SECONDS, "containers": [program]}
    spec = {
        "replicas": run.count,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": {RUN: run.run}},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(run, settings), "spec": spec}


def service(run: Run, settings: PodSettings, owner: Json) -> Json:
    """The address of the pods of the Deployment `owner`, with which it goes."""
    spec = {"selector": {RUN: run.run}, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
    metadata = _metadata(run, settings) | {"ownerReferences": [reference(owner)]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def group_service(run: Run, settings: PodSettings, owner: Json) -> Json:
    """What gives the hosts of a job their names: they are found before they are ready. It goes with the Job `owner`."""
    metadata = _metadata(run, settings) | {"name": run.group, "ownerReferences": [reference(owner)]}
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": _group_labels(run)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def reference(owner: Json) -> Json:
    """What makes an object go with its owner."""
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _metadata(run: Run, settings: PodSettings) -> Json:
    metadata = {"name": run.name, "labels": _labels(run, settings), "annotations": {FOLDER: run.folder}}
    return metadata | ({"ownerReferences": [reference(run.owner)]} if run.owner else {})


def _labels(run: Run, settings: PodSettings) -> dict[str, str]:
    kind, name, *_ = run.folder.split("/")
    return {
        "app.kubernetes.io/name": "loopcast",
        "app.kubernetes.io/component": kind,
        "app.kubernetes.io/part-of": "loopcast",
        "app.kubernetes.io/managed-by": "local.sagemaker",
        **settings.labels,
        SERVER: run.server,
        RUN: run.run,
        KIND: kind,
        NAME: name[:63].rstrip("-"),
        **(_group_labels(run) if run.group else {}),
    }


def _group_labels(run: Run) -> dict[str, str]:
    return {f"{PREFIX}/group": run.group}


def _pod(run: Run, settings: PodSettings, namespace: str) -> Json:
    """The template of a pod, without its containers."""
    names = f"--await-names={','.join(run.peers)}"
    spec: Json = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_carrier(run, settings, "fetch", "fetch", *([names] if run.peers else []))],
        "volumes": [
            _empty("ml", settings.volume_size),
            _empty("tmp", settings.tmp_size),
            _empty("carry", settings.volume_size),
        ],
        **_placement(settings),
    }
    if run.group:
        spec |= {"hostname": run.host, "subdomain": run.group}
        spec["dnsConfig"] = {"searches": [f"{run.group}.{namespace}.svc.{settings.cluster_domain}"]}
    metadata = {"labels": _labels(run, settings), "annotations": {FOLDER: run.folder, **settings.annotations}}
    return {"metadata": metadata, "spec": spec}


def _placement(settings: PodSettings) -> Json:
    given: Json = {
        "nodeSelector": settings.node_selector,
        "tolerations": settings.tolerations,
        "priorityClassName": settings.priority_class_name,
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    return {name: value for name, value in given.items() if value}


def _program(run: Run, settings: PodSettings) -> Json:
    environment = {"HOME": "/tmp", **run.environment}  # noqa: S108 - the pod's own
    return {
        "name": PROGRAM,
        "image": run.image,
        "imagePullPolicy": settings.image_pull_policy,
        **({"command": list(run.entrypoint)} if run.entrypoint else {}),
        **({"args": list(run.arguments)} if run.arguments else {}),
        "env": _variables(environment),
        "resources": _resources(settings.resources_of(run.instance)),
        "securityContext": _SECURE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount("ml", "/opt/ml"), _mount("tmp", "/tmp")],  # noqa: S108
    }


def _carrier(run: Run, settings: PodSettings, name: str, *arguments: str) -> Json:
    """A container that carries the program's files. Its temporary files are not the program's to see."""
    variables = _variables({"HOME": "/tmp", "WORK_URL": run.work_url, "WORK_TOKEN": run.token})  # noqa: S108
    return {
        "name": name,
        "image": settings.carrier_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "local.sagemaker.carry", *arguments],
        "env": [*variables, {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": _resources(settings.carrier_resources),
        "securityContext": _SECURE,
        "volumeMounts": [_mount("ml", "/opt/ml"), _mount("carry", "/tmp")],  # noqa: S108
    }


def _variables(variables: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": _literally(value)} for name, value in variables.items()]


def _literally(value: str) -> str:
    """Kubernetes would put variables in the place of $(NAME)."""
    return value.replace("$", "$$")


def _resources(resources: Resources) -> Json:
    return {"requests": resources.requests, "limits": resources.limits}


def _empty(name: str, size: str) -> Json:
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def _mount(name: str, path: str) -> Json:
    return {"name": name, "mountPath": path}
