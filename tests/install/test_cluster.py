"""A release comes and goes on a real cluster: `-m cluster`, with KUBECONFIG and helm. Its chart is made here."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from kubernetes import client, config

from install import helm
from install.cluster import RESTRICTED, Cluster
from install.down import down
from install.images import CHECKOUT
from install.up import InstallFailed, Release, status, up
from tests.operators.kube import kubectl

pytestmark = pytest.mark.cluster
CHART = "apiVersion: v2\nname: small\nversion: 0.1.0\n"
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app.kubernetes.io/instance: "{{ .Release.Name }}"}}
data: {text: "{{ .Values.text }}"}
"""
POLICY = """
apiVersion: loopcast.io/v1alpha1
kind: ReleasePolicy
metadata: {name: fees, finalizers: [loopcast.io/nobody]}
spec: {feed: fees}
"""
ABSENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: absent, labels: {app.kubernetes.io/instance: "{{ .Release.Name }}"}}
spec:
  selector: {matchLabels: {app: absent}}
  template:
    metadata: {labels: {app: absent, app.kubernetes.io/instance: "{{ .Release.Name }}"}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: one
          image: loopcast.invalid/absent:0
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""
CLAIM: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "state", "labels": {"app.kubernetes.io/instance": "small"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}


class World:
    """A cluster, helm, and a release of a chart with one template in a namespace of its own."""

    def __init__(self, folder: Path) -> None:
        self.cluster, self.helm = Cluster(), helm.client(None, None)
        self.namespace = f"loopcast-{uuid4().hex[:8]}"
        self.folder = folder
        self.said: list[str] = []
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text(CHART)

    def up(self, template: str = SETTINGS, **values: Any) -> None:
        (self.folder / "templates" / "all.yaml").write_text(template)
        release = Release("small", self.namespace, {"text": "", **values}, "2m", self.folder, patience=1)
        asyncio.run(up(self.cluster, self.helm, release, self.said.append))

    def down(self) -> bool:
        """Definitions stay: other releases of the cluster may need them."""
        return asyncio.run(
            down(self.cluster, self.helm, "small", self.namespace, "2m", keep_definitions=True, say=self.said.append)
        )

    def ready(self) -> bool:
        return asyncio.run(status(self.cluster, self.helm, "small", self.namespace, self.said.append))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if not os.environ.get("KUBECONFIG") or not shutil.which("helm"):
        pytest.skip("KUBECONFIG is not set, or there is no helm: no cluster to install on")
    world = World(tmp_path / "chart")
    yield world
    world.down()


def test_a_release_comes_into_a_restricted_namespace_and_goes_with_it(world: World) -> None:
    world.up()
    assert world.ready()
    assert RESTRICTED.items() <= (world.cluster.namespace(world.namespace) or {}).items()
    assert world.down()
    assert world.cluster.namespace(world.namespace) is None
    assert not world.ready()


def test_an_installation_can_be_repeated_and_changed(world: World) -> None:
    world.up()
    world.up(text="changed")
    assert world.said[-1] == "small is up: revision 2"


def test_removing_what_is_not_there_says_so_and_is_no_mistake(world: World) -> None:
    assert world.down()
    assert world.said == [f"nothing was there of small in {world.namespace}"]


def test_a_namespace_that_was_there_before_stays(world: World) -> None:
    core = client.CoreV1Api(config.new_client_from_config())
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=world.namespace)))
    try:
        world.up()
        assert any("it does not hold its pods to restricted Pod Security" in line for line in world.said)
        assert world.down()
        assert world.cluster.namespace(world.namespace) is not None
    finally:
        core.delete_namespace(world.namespace)


def test_a_policy_that_no_operator_frees_any_more_is_removed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("install.down.POLICIES_SECONDS", 1.0)
    world.up(POLICY)
    assert world.down()
    assert "deleted 1 ReleasePolicy" in world.said
    assert world.cluster.policies(world.namespace) == []


def test_a_policy_that_is_not_the_releases_stays_with_the_definitions(world: World) -> None:
    world.up()
    kubectl(
        "apply", "-n", world.namespace, "-f", "-", given=yaml.safe_load(POLICY.replace("[loopcast.io/nobody]", "[]"))
    )
    try:
        assert world.down()
        assert world.said[-1] == "kept, and the namespace with it: ReleasePolicy fees"
        assert world.cluster.policies(world.namespace)
    finally:
        kubectl("delete", "namespace", world.namespace)


def test_a_volume_that_does_not_go_with_its_workload_is_kept(world: World) -> None:
    world.up()
    kubectl("apply", "-n", world.namespace, "-f", "-", given=CLAIM)
    try:
        assert world.down()
        assert world.said[-1] == "kept, and the namespace with it: PersistentVolumeClaim state"
        assert world.down(), "a second time it stays too"
    finally:
        kubectl("delete", "namespace", world.namespace)


def test_values_that_the_chart_refuses_change_nothing_in_the_cluster(world: World) -> None:
    with pytest.raises(helm.HelmFailed, match="text is not to be a number"):
        world.up('{{ fail "text is not to be a number" }}')
    assert world.cluster.namespace(world.namespace) is None


def test_an_image_that_nobody_has_fails_the_installation_by_its_pods_name(world: World) -> None:
    with pytest.raises(InstallFailed) as failed:
        world.up(ABSENT)
    assert "pod absent-" in str(failed.value)
    assert "ErrImage" in str(failed.value) or "ImagePullBackOff" in str(failed.value)
    assert any("absent: one waits:" in line for line in world.said)


def test_an_interrupted_installation_ends_at_once_and_can_be_begun_again(world: World) -> None:
    (world.folder / "templates" / "all.yaml").write_text(ABSENT)
    where = ["--release", "small", "--namespace", world.namespace, "--chart", str(world.folder)]
    command = [sys.executable, "-m", "install", "up", *where, "--set", "text=x"]
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        assert any("absent: " in line for line in process.stdout or ())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "stopped"
    world.up()
    assert world.ready()
