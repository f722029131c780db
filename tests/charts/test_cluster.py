"""What a real API server says of every object, without making any (a server-side dry run)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, Object, chart_names, ci_values

pytestmark = [pytest.mark.charts, pytest.mark.cluster]
CASES = [(chart, "") for chart in chart_names()] + ci_values()


def kubectl(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that holds its pods to the restricted standard, and warns of those that would not be."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to test against")
    name = f"charts-{os.getpid()}"
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels}}
    done = kubectl("apply", "-f", "-", given=json.dumps(made))
    assert done.returncode == 0, done.stderr
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def served(namespace: str) -> set[str]:
    """The API groups that the cluster serves: it may know nothing of Prometheus, ACK and their like."""
    return {line.partition("/")[0] for line in kubectl("api-versions").stdout.split() if "/" in line} | {"v1"}


@pytest.mark.parametrize(("chart", "file"), CASES, ids=[f"{chart}-{file or 'defaults'}" for chart, file in CASES])
def test_should_be_taken_by_the_api_server(
    render: Render, namespace: str, served: set[str], chart: str, file: str
) -> None:
    values = CHARTS / chart / "ci" / file if file else {}
    objects = [item for item in render(chart, values, namespace=namespace) if is_served(item, served)]
    accounts = [item for item in objects if item["kind"] == "ServiceAccount"]  # a pod's must be there, in a dry run too
    applied = kubectl("apply", "--server-side", "-f", "-", given=a_list(accounts))
    assert applied.returncode == 0, applied.stderr
    done = kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", given=a_list(objects))
    assert done.returncode == 0, done.stderr
    assert "PodSecurity" not in done.stderr
    assert len(done.stdout.splitlines()) == len(objects) > 0


def a_list(objects: list[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def is_served(item: Object, served: set[str]) -> bool:
    return item["apiVersion"].partition("/")[0] in served
