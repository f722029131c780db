"""A namespace's ConfigMaps, through the API server that this pod was given, as its own service account."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT = 10


class Unreachable(RuntimeError):
    """The API server refuses, or can't be asked; the message says what was asked for and why it failed."""


class ConfigMaps:
    """ConfigMaps of `namespace`. Every call raises `Unreachable`."""

    def __init__(self, namespace: str) -> None:
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (_ACCOUNT / "token").exists():
            raise Unreachable("there is no API server: this runs in a pod that has a service account's token only")
        address = f"[{host}]" if ":" in host else host
        self._url = f"https://{address}:{port}/api/v1/namespaces/{namespace}/configmaps"
        self._trust = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))

    def get(self, name: str) -> Any | None:
        """The ConfigMap, or None when there is none."""
        return self._ask("GET", f"/{name}", absent=404)

    def create(self, config_map: Mapping[str, Any]) -> None:
        """Creates it, unless there is one of its name already."""
        self._ask("POST", "", config_map, absent=409)

    def change(self, name: str, patch: Mapping[str, Any]) -> None:
        """Merges `patch` into it; None removes a key."""
        self._ask("PATCH", f"/{name}", patch)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, absent: int = 0) -> Any | None:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(  # noqa: S310 - the address is the API server's
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {(_ACCOUNT / 'token').read_text()}", "Content-Type": kind},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=self._trust) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == absent:
                return None
            raise Unreachable(f"{method} configmaps{path}: {error.code} {_reason(error)}") from error
        except OSError as error:
            raise Unreachable(f"{method} configmaps{path}: {error}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
