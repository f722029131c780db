"""Our definitions put into a real cluster and taken out again, under a group of the test's own: `-m cluster`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from operators import crds, installation
from operators.policies import KINDS
from tests.operators.conftest import CHECKOUT
from tests.operators.kube import get, kubectl, namespaced, require_cluster

pytestmark = pytest.mark.cluster


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A group that nobody else's policies are in: definitions are the whole cluster's."""
    require_cluster()
    name = f"t{uuid4().hex[:6]}.loopcast.example"
    for module in (crds, installation):
        monkeypatch.setattr(module, "GROUP", name)
    yield name
    names = [f"{kind.plural}.{name}" for kind in KINDS.values()]
    kubectl("delete", "crd", "--ignore-not-found", *names)


def policy(namespace: str, group: str, **metadata: object) -> None:
    document = {
        "apiVersion": f"{group}/v1alpha1",
        "kind": "ReleasePolicy",
        "metadata": {"name": "fees", **metadata},
        "spec": {"feed": "fees"},
    }
    kubectl("create", "-n", namespace, "-f", "-", given=document)


def test_what_was_applied_is_served_and_applying_it_again_changes_nothing(group: str) -> None:
    assert installation.apply().endswith("are served.")
    version = get("default", "crd", f"releasepolicies.{group}")["metadata"]["resourceVersion"]
    installation.apply()
    assert get("default", "crd", f"releasepolicies.{group}")["metadata"]["resourceVersion"] == version


def test_definitions_go_with_the_policies_of_their_namespace_also_with_a_finalizer(group: str) -> None:
    installation.apply()
    with namespaced() as namespace:
        policy(namespace, group, finalizers=["kopf.zalando.org/KopfFinalizerMarker"])
        assert installation.delete(namespace).endswith("are gone.")
        assert installation.delete(namespace).endswith("are gone.")


def test_definitions_stay_while_another_namespace_has_policies(group: str) -> None:
    installation.apply()
    with namespaced() as namespace:
        policy(namespace, group)
        assert installation.delete("default").endswith(f"stay: there are policies in {namespace}.")
        assert get(namespace, f"releasepolicies.{group}", "fees")


def test_its_role_is_all_that_applying_needs(tmp_path: Path) -> None:
    """With the real definitions, which stay: they are as they were."""
    require_cluster()
    role = CHECKOUT / "manifests" / "operator" / "crds-rbac.yaml"
    with namespaced() as namespace:
        text = role.read_text().replace("loopcast-operator-crds", f"{namespace}-crds")
        (tmp_path / "role.yaml").write_text(text.replace("namespace: default", f"namespace: {namespace}"))
        try:
            kubectl("apply", "-n", namespace, "-f", str(tmp_path / "role.yaml"))
            token = kubectl("create", "token", f"{namespace}-crds", "-n", namespace).strip()
            config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
            config["users"][0]["user"] = {"token": token}
            (tmp_path / "kubeconfig").write_text(json.dumps(config))
            command = [sys.executable, "-m", "operators.crds", "apply"]
            env = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": "/usr/bin:/bin"}
            done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            can = ["auth", "can-i", "--as", f"system:serviceaccount:{namespace}:{namespace}-crds"]
            for kind in KINDS.values():
                assert kubectl(*can, "delete", f"crd/{kind.plural}.loopcast.io").strip() == "yes"
        finally:
            kubectl("delete", "clusterrole,clusterrolebinding", f"{namespace}-crds", "--ignore-not-found")


def test_a_cluster_that_can_not_be_reached_is_told_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "operators.crds", "apply"]
    env = {"KUBECONFIG": str(tmp_path / "nowhere"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no cluster to be seen" in done.stderr
