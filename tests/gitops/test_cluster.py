"""What Argo CD would apply, shown to an API server: `-m cluster`, with KUBECONFIG. Nothing but a namespace is made,
our definitions, which stay, and Argo CD's for as long as the tests take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.gitops.argo import CHECKOUT, Environment, Object
from tests.gitops.schema import argo_files

pytestmark = [pytest.mark.charts, pytest.mark.cluster]

ABSENT = ("services.k8s.aws", "flink.apache.org", "pipelines.kubeflow.org", "monitoring.coreos.com", "keda.sh")
"""Whose kinds a bare cluster does not know: they are left out, and nothing else is."""


def kubectl(*arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
    text = json.dumps(given) if given is not None else None
    command = ["kubectl", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster with Argo CD's definitions and ours; those of Argo CD that were not there before go again."""
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        pytest.skip("KUBECONFIG is not set, or there is no kubectl: no cluster to test against")
    if not shutil.which("go"):
        pytest.skip("there is no go: Argo CD's definitions can't be had")
    made = []
    ours = CHECKOUT / "manifests" / "operator" / "crds.yaml"
    assert kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ours)).returncode == 0
    for path in argo_files(Path(tmp_path_factory.mktemp("go"))):
        if kubectl("create", "-f", str(path)).returncode == 0:
            made.append(path)
        kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(path))
    yield
    for path in made:
        kubectl("delete", "-f", str(path), "--timeout=60s")


@pytest.fixture(scope="module")
def namespace(cluster: None, environments: dict[str, Environment]) -> Iterator[str]:
    """A namespace with the labels that the first application gives it."""
    name = f"lc-gitops-{uuid4().hex[:8]}"
    policy = environments["prod"].applications["crds"]["spec"]["syncPolicy"]
    labels = policy["managedNamespaceMetadata"]["labels"]
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    assert kubectl("create", "-f", "-", given=made).returncode == 0
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@cache
def known(api: str) -> frozenset[str]:
    """The kinds of an API version that the cluster has."""
    answer = kubectl("get", "--raw", f"/apis/{api}" if "/" in api else f"/api/{api}")
    return frozenset(item["kind"] for item in json.loads(answer.stdout or '{"resources": []}')["resources"])


def dry_run(objects: list[Object], namespace: str) -> str:
    """Shows the objects to the API server as Argo CD would; everything that it says against them."""
    shown: list[Any] = []
    for found in objects:
        if found["kind"] not in known(found["apiVersion"]):
            assert found["apiVersion"].partition("/")[0].endswith(ABSENT), f"no such kind: {found['kind']}"
        elif found["kind"] == "CustomResourceDefinition":
            shown.append(found)
        else:
            shown.append({**found, "metadata": {**found["metadata"], "namespace": namespace}})
    if not shown:
        return ""
    flags = ["--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--dry-run=server"]
    done = kubectl("apply", *flags, "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": shown})
    return done.stderr + ("" if done.returncode == 0 else done.stdout)


def test_the_api_server_takes_projects_and_applications(environment: Environment, namespace: str) -> None:
    assert dry_run([*environment.bootstrap, *environment.applications.values()], namespace) == ""


def test_the_api_server_takes_every_object_without_a_warning(environment: Environment, namespace: str) -> None:
    for name, objects in environment.objects.items():
        assert dry_run(objects, namespace) == "", name


def test_an_object_that_may_not_run_in_the_namespace_would_be_told(namespace: str) -> None:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    loose = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "loose"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod},
    }
    assert "would violate PodSecurity" in dry_run([loose], namespace)


def test_the_health_checks_join_the_keys_that_argo_cd_has(cluster: None, namespace: str) -> None:
    def config(**data: str) -> Object:
        meta = {"name": "argocd-cm", "namespace": namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}

    assert kubectl("create", "-f", "-", given=config(url="https://argocd.example.com")).returncode == 0
    rendered = kubectl("kustomize", str(CHECKOUT / "manifests" / "argocd" / "health")).stdout
    checks = yaml.safe_load(rendered)
    assert (checks["metadata"]["name"], checks["metadata"]["namespace"]) == ("argocd-cm", "argocd")
    checks["metadata"]["namespace"] = namespace
    done = kubectl("apply", "--server-side", "-f", "-", given=checks)
    assert done.returncode == 0, done.stderr
    stored = json.loads(kubectl("get", "configmap", "argocd-cm", "-n", namespace, "-o", "json").stdout)
    assert stored["data"] == {"url": "https://argocd.example.com", **checks["data"]}
    assert stored["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"
