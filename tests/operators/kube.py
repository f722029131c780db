"""A namespace of a real cluster, and kubectl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest


def kubectl(*arguments: str, given: object = None) -> str:
    """What kubectl prints. Raises `CalledProcessError` when it refuses."""
    text = json.dumps(given) if given is not None else None
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def get(namespace: str, *what: str) -> Any:
    """What `kubectl get` knows."""
    return json.loads(kubectl("get", *what, "-n", namespace, "-o", "json"))


def require_cluster() -> None:
    """Skips the test where there is no cluster."""
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        pytest.skip("KUBECONFIG is not set, or there is no kubectl: no cluster to test against")


@contextmanager
def namespaced() -> Iterator[str]:
    """A namespace that only takes restricted pods."""
    name = f"loopcast-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
