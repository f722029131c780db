"""The API server of a cluster, as far as this server needs it: plain REST, with timeouts and a few retries."""

from __future__ import annotations

import atexit
import base64
import json
import os
import shutil
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

Json = dict[str, Any]

_MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)
_RETRY = urllib3.Retry(
    total=4, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, raise_on_status=False
)
_GROUPS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "events": "/api/v1",
    "jobs": "/apis/batch/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
}


class ApiError(Exception):
    """The API server refused, with `status`, or didn't answer (0); the message says what it said."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """The objects of one namespace. `token` is a file, which is read again each time because it is exchanged."""

    server: str
    namespace: str
    pool: urllib3.PoolManager
    token: Path | str | None = None

    def get(self, kind: str, name: str) -> Json:
        return self._json("GET", kind, name)

    def list(self, kind: str, **query: str) -> list[Json]:
        """All of a kind that the query, such as labelSelector, selects."""
        items: list[Json] = self._json("GET", kind, query=query)["items"]
        return items

    def create(self, kind: str, body: Json) -> Json:
        """Creates the object; when it was there already (a retry may find so), returns it."""
        try:
            return self._json("POST", kind, body=body)
        except ApiError as error:
            if error.status != 409:
                raise
            return self.get(kind, body["metadata"]["name"])

    def delete(self, kind: str, name: str, grace_seconds: int | None = None) -> None:
        """Deletes the object and then what it owns; that it is gone already is as good."""
        options: Json = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._json("DELETE", kind, name, body=options)
        except ApiError as error:
            if error.status != 404:
                raise

    def log(self, pod: str, **query: str) -> bytes:
        """What a container of the pod has said."""
        return self._call("GET", f"{self._path('pods', pod)}/log", query).data

    def _json(
        self,
        method: str,
        kind: str,
        name: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> Json:
        answer: Json = json.loads(self._call(method, self._path(kind, name), query or {}, body).data)
        return answer

    def _path(self, kind: str, name: str) -> str:
        return f"{_GROUPS[kind]}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def _call(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None = None
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*", **self._authorization()}
        try:
            answer = self.pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=_TIMEOUT,
                retries=_RETRY,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"the cluster's API server {self.server} does not answer: {error}") from error
        if answer.status >= 400:
            raise ApiError(f"the cluster refuses {method} {path}: {_said(answer)}", answer.status)
        return answer

    def _authorization(self) -> dict[str, str]:
        token = self.token.read_text().strip() if isinstance(self.token, Path) else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def connect(namespace: str | None) -> Api:
    """The cluster that this pod runs in, or that of KUBECONFIG. Raises `ApiError` with what is missing."""
    if (_MOUNTED / "token").exists():
        server = f"https://{_bracketed(os.environ['KUBERNETES_SERVICE_HOST'])}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        own = (_MOUNTED / "namespace").read_text().strip()
        return Api(server, namespace or own, _pool(_MOUNTED / "ca.crt"), _MOUNTED / "token")
    path = os.environ.get("KUBECONFIG")
    if not path:
        raise ApiError("no cluster: this is no pod with a service account's token, and KUBECONFIG is not set")
    return _configured(Path(path), namespace)


def _configured(path: Path, namespace: str | None) -> Api:
    """The current context of a KUBECONFIG with a token or a client's certificate."""
    try:
        config = yaml.safe_load(path.read_text())
        named = {
            kind: {item["name"]: item[kind] for item in config[f"{kind}s"]} for kind in ("context", "cluster", "user")
        }
        context = named["context"][config["current-context"]]
        cluster, user = named["cluster"][context["cluster"]], named["user"][context["user"]]
        files = _Files(path.parent)
        certificate, key = files.of(user, "client-certificate"), files.of(user, "client-key")
        pool = _pool(files.of(cluster, "certificate-authority"), certificate, key)
        if not certificate and "token" not in user:
            raise ApiError(f"{path}: the user of its current context has neither a token nor a client certificate")
        return Api(cluster["server"], namespace or context.get("namespace", "default"), pool, user.get("token"))
    except (OSError, yaml.YAMLError, LookupError, TypeError, ssl.SSLError) as error:
        raise ApiError(f"can't read a cluster from {path}: {error!r}") from error


class _Files:
    """The files that a KUBECONFIG names or holds; those that it holds are written where only we can read them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, self._own, ignore_errors=True)

    def of(self, item: Json, name: str) -> Path | None:
        if f"{name}-data" in item:
            path = self._own / name
            path.write_bytes(base64.b64decode(item[f"{name}-data"]))
            return path
        return self._folder / item[name] if name in item else None


def _pool(authority: Path | None, certificate: Path | None = None, key: Path | None = None) -> urllib3.PoolManager:
    context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return urllib3.PoolManager(maxsize=16, ssl_context=context)


def _said(answer: urllib3.BaseHTTPResponse) -> str:
    try:
        return str(json.loads(answer.data)["message"])
    except (ValueError, LookupError, TypeError):
        return answer.data.decode(errors="replace")[:300] or f"status {answer.status}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
