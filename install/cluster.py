"""The cluster that KUBECONFIG names: what an installation asks of its API server beside Helm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError, ResourceNotFoundError
from urllib3.exceptions import HTTPError

INSTANCE = "app.kubernetes.io/instance"
MADE_BY = {"loopcast.io/made-by": "install"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
GROUP = "loopcast.io"
MANAGER = "loopcast-install"
WORKLOADS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("batch/v1", "Job"))
LEFTOVERS = (
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Pod"),
    ("coordination.k8s.io/v1", "Lease"),
)
"""What a release's programs make while they run: not Helm's to delete."""
ANSWER_SECONDS = 15


class ClusterFailed(Exception):
    """The cluster can't be used, or refused; the message is for the user."""


@dataclass(frozen=True)
class Right:
    """Something that an installation does: a verb on a resource of an API group, in the namespace or in the cluster."""

    verb: str
    resource: str
    group: str = ""
    namespaced: bool = True


NEEDED = (
    Right("patch", "customresourcedefinitions", "apiextensions.k8s.io", namespaced=False),
    Right("create", "deployments", "apps"),
    Right("create", "roles", "rbac.authorization.k8s.io"),
    Right("create", "secrets"),
    Right("list", "pods"),
)


class Cluster:
    """The API server of a kubeconfig's context. Raises `ClusterFailed` where it can't be reached."""

    def __init__(self, kubeconfig: Path | None = None, context: str | None = None) -> None:
        try:
            self._api = config.new_client_from_config(str(kubeconfig) if kubeconfig else None, context)
            self.version = client.VersionApi(self._api).get_code(_request_timeout=ANSWER_SECONDS).git_version
            self._dynamic = DynamicClient(self._api)
        except config.ConfigException as error:
            raise ClusterFailed(f"there is no cluster to install on ({error}): set KUBECONFIG") from error
        except (HTTPError, ApiException, OSError) as error:
            raise ClusterFailed(f"the cluster does not answer ({_why(error)}): look at KUBECONFIG") from error
        self.host = str(self._api.configuration.host)

    def missing_rights(self, namespace: str) -> list[str]:
        """What the user may not do of what an installation does, in words."""
        needed = list(NEEDED)
        if self.namespace(namespace) is None:
            needed.append(Right("create", "namespaces", namespaced=False))
        return [f"{right.verb} {right.resource}" for right in needed if not self._allowed(right, namespace)]

    def _allowed(self, right: Right, namespace: str) -> bool:
        attributes = client.V1ResourceAttributes(
            verb=right.verb,
            resource=right.resource,
            group=right.group,
            namespace=namespace if right.namespaced else None,
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        answer = client.AuthorizationV1Api(self._api).create_self_subject_access_review(review)
        return bool(answer.status.allowed)

    def namespace(self, name: str) -> dict[str, str] | None:
        """Its labels; None where there is none of this name."""
        try:
            found = client.CoreV1Api(self._api).read_namespace(name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise ClusterFailed(_why(error)) from error
        return dict(found.metadata.labels or {})

    def create_namespace(self, name: str) -> None:
        """A namespace that holds its pods to restricted Pod Security, marked as made here."""
        metadata = client.V1ObjectMeta(name=name, labels=MADE_BY | RESTRICTED)
        client.CoreV1Api(self._api).create_namespace(client.V1Namespace(metadata=metadata))

    def delete_namespace(self, name: str, seconds: float) -> bool:
        """False where it is not gone within `seconds`."""
        client.CoreV1Api(self._api).delete_namespace(name)
        return _until(lambda: self.namespace(name) is None, seconds)

    def images(self) -> set[str] | None:
        """The names of the images that lie on nodes; None where that isn't told, or only in part (kubelet lists 50)."""
        try:
            nodes = client.CoreV1Api(self._api).list_node().items
        except ApiException:
            return None
        listed = [node.status.images or [] for node in nodes]
        if any(len(images) >= 50 for images in listed):
            return None
        return {name for images in listed for image in images for name in image.names or ()}

    def apply(self, manifest: Path) -> list[str]:
        """Applies a file server-side and gives the objects' names. Raises `ClusterFailed`."""
        names = []
        for body in yaml.safe_load_all(manifest.read_text()):
            if body:
                resource = self._resource(body["apiVersion"], body["kind"])
                self._dynamic.server_side_apply(resource, body, field_manager=MANAGER, force_conflicts=True)
                names.append(str(body["metadata"]["name"]))
        return names

    def established(self, definitions: Sequence[str], seconds: float) -> bool:
        """Whether the API server serves these custom resources, within `seconds`."""
        resource = self._resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")

        def served() -> bool:
            return all(_is_established(self._dynamic.get(resource, name=name).to_dict()) for name in definitions)

        return _until(served, seconds)

    def definitions(self) -> list[dict[str, Any]]:
        """The definitions of our own custom resources."""
        found = self._list("apiextensions.k8s.io/v1", "CustomResourceDefinition", None)
        return [one for one in found if one["spec"]["group"] == GROUP]

    def policies(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """Our custom resources of one namespace, or of all."""
        kinds = [definition["spec"] for definition in self.definitions()]
        return [
            one
            for spec in kinds
            for version in [v["name"] for v in spec["versions"] if v["storage"]]
            for one in self._list(f"{GROUP}/{version}", spec["names"]["kind"], namespace)
        ]

    def workloads(self, release: str, namespace: str) -> list[dict[str, Any]]:
        return [one for api, kind in WORKLOADS for one in self._list(api, kind, namespace, f"{INSTANCE}={release}")]

    def pods(self, release: str, namespace: str) -> list[dict[str, Any]]:
        return self._list("v1", "Pod", namespace, f"{INSTANCE}={release}")

    def leftovers(self, release: str, namespace: str) -> list[dict[str, Any]]:
        """Objects of the release that are not Helm's, or that Helm has left; its own records are not among them."""
        found = [one for api, kind in LEFTOVERS for one in self._list(api, kind, namespace, f"{INSTANCE}={release}")]
        return [one for one in found if not one["metadata"].get("ownerReferences")]

    def kept_claims(self, release: str, namespace: str) -> list[dict[str, Any]]:
        """Claims that stay without the release: those that go with their StatefulSet are owned by it."""
        found = self._list("v1", "PersistentVolumeClaim", namespace, f"{INSTANCE}={release}")
        return [one for one in found if not one["metadata"].get("ownerReferences")]

    def log(self, pod: str, container: str, namespace: str, lines: int) -> str:
        """The last lines of a container, of the run before where it has just been started again."""
        core = client.CoreV1Api(self._api)
        for previous in (False, True):
            try:
                text = core.read_namespaced_pod_log(
                    pod, namespace, container=container or None, tail_lines=lines, previous=previous
                )
            except ApiException:
                continue
            if text:
                return str(text)
        return ""

    def delete(self, one: dict[str, Any]) -> None:
        """Deletes an object and what it owns; nothing where it is gone."""
        metadata = one["metadata"]
        resource = self._resource(one["apiVersion"], one["kind"])
        options = {"propagationPolicy": "Background"}
        try:
            self._dynamic.delete(resource, metadata["name"], metadata.get("namespace"), body=options)
        except NotFoundError:
            return

    def delete_and_wait(self, objects: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
        """Deletes the objects and gives those that are still there after `seconds`."""
        for one in objects:
            self.delete(one)
        _until(lambda: not any(self._exists(one) for one in objects), seconds)
        return [one for one in objects if self._exists(one)]

    def free(self, one: dict[str, Any]) -> None:
        """Takes an object's finalizers away: for one whose controller is gone."""
        metadata = one["metadata"]
        resource = self._resource(one["apiVersion"], one["kind"])
        body = {"metadata": {"finalizers": None}}
        try:
            self._dynamic.patch(
                resource, body, metadata["name"], metadata.get("namespace"), content_type="application/merge-patch+json"
            )
        except NotFoundError:
            return

    def _exists(self, one: dict[str, Any]) -> bool:
        metadata = one["metadata"]
        try:
            self._dynamic.get(
                self._resource(one["apiVersion"], one["kind"]), metadata["name"], metadata.get("namespace")
            )
        except (NotFoundError, ResourceNotFoundError):
            return False
        return True

    def _list(self, api: str, kind: str, namespace: str | None, labels: str = "") -> list[dict[str, Any]]:
        try:
            answer = self._dynamic.get(self._resource(api, kind), namespace=namespace, label_selector=labels)
        except (NotFoundError, ResourceNotFoundError):
            return []
        except DynamicApiError as error:
            raise ClusterFailed(_why(error)) from error
        return [{**one, "apiVersion": api, "kind": kind} for one in answer.to_dict()["items"]]

    def _resource(self, api: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=api, kind=kind)


def _is_established(definition: dict[str, Any]) -> bool:
    """A new definition has no status, or one without conditions, for a moment."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _until(true: Any, seconds: float) -> bool:
    return any(true() for _ in _tries(seconds))


def _tries(seconds: float) -> Iterator[None]:
    """One try, and more a while apart until `seconds` are over."""
    end = time.monotonic() + seconds
    yield
    while time.monotonic() < end:
        time.sleep(0.5)
        yield


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return " ".join(str(reason or error).split())[:300]
