"""Our definitions in a cluster: applied on the server's side, deleted when nothing is left that needs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import kubernetes as k8s
import urllib3

from operators import cluster
from operators.crds import crd
from operators.policies import GROUP, KINDS, VERSION, Kind

TIMEOUT = (5, 20)
"""Seconds to connect, and to wait for an answer."""
WAIT_SECONDS = 60.0
"""How long the API server has to serve what was applied, or to be rid of what was deleted."""
_MANAGER = "loopcast"
_OURS = (f"{GROUP}/", "kopf.")


def apply() -> str:
    """Creates the definitions or brings them up to date, and returns a sentence once they are served. Exits with one
    when the cluster doesn't let it."""
    cluster.configure_client()
    definitions = k8s.client.ApiextensionsV1Api()
    for kind in KINDS.values():
        _call(_server_side_apply, definitions.api_client, kind)
    for kind in KINDS.values():
        _until(partial(_established, definitions, kind), f"{_name(kind)} is not served yet")
    return f"{_all()} are served."


def delete(namespace: str) -> str:
    """Deletes the policies of `namespace` and the definitions, and returns a sentence once they are gone. While other
    namespaces have policies, whose they are as well, all stays and the sentence says so."""
    cluster.configure_client()
    definitions = k8s.client.ApiextensionsV1Api()
    present = [kind for kind in KINDS.values() if _definition(definitions, kind)]
    left = [(kind, policy["metadata"]) for kind in present for policy in _policies(kind)]
    if others := sorted({metadata["namespace"] for _, metadata in left} - {namespace}):
        return f"{_all()} stay: there are policies in {', '.join(others)}."
    for kind, metadata in left:
        _release(kind, metadata)
    for kind in present:
        _call(definitions.delete_custom_resource_definition, _name(kind))
    for kind in present:
        _until(partial(_gone, definitions, kind), f"{_name(kind)} is not gone yet")
    return f"{_all()} are gone."


def _server_side_apply(client: Any, kind: Kind, _request_timeout: Any) -> None:
    """The client's own patch can't say that it applies."""
    client.call_api(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
        "PATCH",
        path_params={"name": _name(kind)},
        query_params=[("fieldManager", _MANAGER), ("force", "true")],
        header_params={"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"},
        body=crd(kind),
        auth_settings=["BearerToken"],
        _request_timeout=_request_timeout,
    )


def _release(kind: Kind, metadata: Mapping[str, Any]) -> None:
    """Takes our finalizers off a policy: nobody is left to do so when it is deleted."""
    finalizers = metadata.get("finalizers") or []
    kept = [name for name in finalizers if not name.startswith(_OURS)]
    if kept != finalizers:
        where = (GROUP, VERSION, metadata["namespace"], kind.plural, metadata["name"])
        _call(k8s.client.CustomObjectsApi().patch_namespaced_custom_object, *where, {"metadata": {"finalizers": kept}})


def _policies(kind: Kind) -> list[Any]:
    listed = _call(k8s.client.CustomObjectsApi().list_cluster_custom_object, GROUP, VERSION, kind.plural)
    return list(listed["items"]) if listed else []


def _established(definitions: Any, kind: Kind) -> bool:
    found = _definition(definitions, kind)
    known = (found.status.conditions or []) if found and found.status else []
    return any((item.type, item.status) == ("Established", "True") for item in known)


def _gone(definitions: Any, kind: Kind) -> bool:
    return _definition(definitions, kind) is None


def _definition(definitions: Any, kind: Kind) -> Any:
    return _call(definitions.read_custom_resource_definition, _name(kind))


def _name(kind: Kind) -> str:
    return f"{kind.plural}.{GROUP}"


def _all() -> str:
    return " and ".join(_name(kind) for kind in KINDS.values())


def _call(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What `call` answers; None when there is no such thing. Exits with a sentence when it is refused."""
    try:
        return call(*given, _request_timeout=TIMEOUT, **named)
    except k8s.client.ApiException as error:
        if error.status == 404:
            return None
        raise SystemExit(f"loopcast: Kubernetes refused it ({error.status} {error.reason}): {error.body}") from error
    except urllib3.exceptions.HTTPError as error:
        raise SystemExit(f"loopcast: Kubernetes can't be reached ({type(error).__name__})") from error


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"loopcast: {otherwise} after {WAIT_SECONDS:.0f} s")
        time.sleep(0.2)
