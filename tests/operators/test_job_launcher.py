"""Pipelines as Kubernetes Jobs, in a real cluster, with a shell in their place: `-m cluster`, with KUBECONFIG.

LOOPCAST_TEST_IMAGE is an image with a shell that the cluster can have (default localhost/base:1).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes as k8s
import pytest

from loopcast.aws import client
from loopcast.names import Names
from operators.launchers.base import LaunchFailed, Recurring
from operators.launchers.jobs import KEPT, JobLauncher, owner_of
from operators.runs import RunState
from tests.conftest import Service
from tests.operators.kube import get, kubectl, namespaced, require_cluster
from tests.operators.launchers import NOON, Contract, over, run, until

pytestmark = pytest.mark.cluster
IMAGE = os.environ.get("LOOPCAST_TEST_IMAGE", "localhost/base:1")
PROGRAM = """
trap 'echo "the jobs go on"; exit 143' TERM
case "$1" in
broken) echo "train: it is broken" >&2; echo "loopcast: The step train failed: it is broken." >&2; exit 1;;
endless) while :; do sleep 0.1 & wait $!; done;;
*) echo "$@" > /tmp/run; echo '{"result": "s3://b/r.json", "decision": "Waits for approval."}' > /dev/termination-log;;
esac
"""


def template(**spec: Any) -> dict[str, Any]:
    container = {
        "name": "pipeline",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", PROGRAM, "pipeline"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {**spec, "template": {"spec": pod}}}


@dataclass
class Cluster:
    launcher: JobLauncher

    @property
    def namespace(self) -> str:
        return self.launcher.namespace

    def starts(self) -> int:
        return len([pod for pod in self.pods() if pod["status"].get("containerStatuses", [{}])[0].get("state")])

    def another(self) -> JobLauncher:
        return replace(self.launcher)

    def pods(self) -> list[Any]:
        return list(get(self.namespace, "pods")["items"])

    def jobs(self) -> list[Any]:
        return list(get(self.namespace, "jobs")["items"])

    def running(self) -> list[Any]:
        """The pods that run and are to go on."""
        return [
            pod
            for pod in self.pods()
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def change(self, **spec: Any) -> None:
        self.launcher.template.write_text(json.dumps(template(**spec)))

    def clear(self) -> None:
        kubectl("delete", "jobs", "--all", "-n", self.namespace, "--cascade=foreground", "--timeout=60s")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    require_cluster()
    k8s.config.load_kube_config()
    with namespaced() as name:
        yield name


@pytest.fixture
def place(namespace: str, tmp_path: Path, aws: Service) -> Iterator[Cluster]:
    names = Names(f"parcels-{uuid4().hex[:6]}", "000000000000")
    client("s3").create_bucket(Bucket=names.bucket)
    made = Cluster(JobLauncher(tmp_path / "job.yaml", namespace, names))
    made.change()
    yield made
    made.clear()


class TestJobs(Contract):
    def settle(self, place: Cluster) -> None:
        until(lambda: all(job["status"].get("conditions") for job in place.jobs()))

    def test_a_run_tells_what_it_decided(self, place: Cluster) -> None:
        launched = run("build")
        place.launcher.launch(launched)
        over(place, launched)
        assert place.launcher.progress(launched).message == "Waits for approval."

    def test_a_program_that_fails_fails_its_run_at_once(self, place: Cluster) -> None:
        launched = run("broken")
        place.launcher.launch(launched)
        over(place, launched)
        [job] = place.jobs()
        assert {item["reason"] for item in job["status"]["conditions"]} == {"PodFailurePolicy"}

    def test_a_pod_that_was_deleted_runs_again_under_the_same_id(self, place: Cluster) -> None:
        launched = run("endless")
        place.launcher.launch(launched)
        until(place.running)
        [first] = place.running()
        kubectl("delete", "pod", first["metadata"]["name"], "-n", place.namespace)
        until(place.running)
        [second] = place.running()
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        assert first["spec"]["containers"][0]["args"] == second["spec"]["containers"][0]["args"]
        assert place.launcher.progress(launched).state is RunState.RUNNING

    def test_a_pod_that_was_drained_runs_again_and_does_not_count(self, place: Cluster) -> None:
        place.change(backoffLimit=0)
        launched = run("endless")
        place.launcher.launch(launched)
        until(place.running)
        [first] = place.running()
        eviction = k8s.client.V1Eviction(metadata={"name": first["metadata"]["name"]})
        k8s.client.CoreV1Api().create_namespaced_pod_eviction(first["metadata"]["name"], place.namespace, eviction)
        until(lambda: place.running() and place.running()[0]["metadata"]["uid"] != first["metadata"]["uid"])
        assert place.launcher.progress(launched).state is RunState.RUNNING

    def test_a_cancelled_run_is_marked_so_that_its_program_stops_its_jobs(self, place: Cluster) -> None:
        launched = run("endless")
        place.launcher.launch(launched)
        until(place.running)
        place.launcher.cancel(launched)
        names = place.launcher.names
        assert client("s3").head_object(Bucket=names.bucket, Key=names.cancelled_key(launched.id))
        until(lambda: not place.jobs() and not place.pods())

    def test_a_run_that_is_over_stays_when_it_is_cancelled(self, place: Cluster) -> None:
        launched = run("build")
        place.launcher.launch(launched)
        over(place, launched)
        place.launcher.cancel(launched)
        assert place.launcher.progress(launched).state is RunState.SUCCEEDED

    def test_what_keeps_a_run_from_running_is_told(self, place: Cluster) -> None:
        made = template()
        made["spec"]["template"]["spec"]["containers"][0] |= {"image": "nowhere/nothing:1", "imagePullPolicy": "Never"}
        place.launcher.template.write_text(json.dumps(made))
        launched = run("build")
        place.launcher.launch(launched)
        until(lambda: "nowhere/nothing:1" in place.launcher.progress(launched).message)
        assert place.launcher.progress(launched).state is RunState.RUNNING

    def test_a_pod_that_the_namespace_does_not_take_is_told(self, place: Cluster) -> None:
        made = template()
        del made["spec"]["template"]["spec"]["containers"][0]["securityContext"]
        place.launcher.template.write_text(json.dumps(made))
        launched = run("build")
        place.launcher.launch(launched)
        assert "kubectl describe job fees-retrain-1" in place.launcher.progress(launched).message

    def test_a_job_that_kubernetes_refuses_is_a_failed_launch(self, place: Cluster) -> None:
        place.change(parallelism=-1)
        with pytest.raises(LaunchFailed, match=r"refused the Job fees-retrain-1 \(422\)"):
            place.launcher.launch(run("build"))

    def test_the_name_of_a_job_that_is_no_run_can_not_be_launched(self, place: Cluster) -> None:
        body = template()
        body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        kubectl("create", "-n", place.namespace, "-f", "-", given={**body, "metadata": {"name": "fees-retrain-1"}})
        with pytest.raises(LaunchFailed, match="which is no run"):
            place.launcher.launch(run("build"))

    def test_of_two_operators_that_find_a_recurring_run_due_one_starts_it(self, place: Cluster) -> None:
        hourly = Recurring("fees-monitor-staging", "monitor", timedelta(hours=1))
        assert place.launcher.ensure_recurring(hourly, NOON)
        body = place.jobs()[0]
        self.settle(place)
        newest = place.launcher._recurring(hourly.name)[-1]
        orders = [place.launcher._next(hourly, newest, NOON + timedelta(hours=1, seconds=late)) for late in (0, 7)]
        assert [place.launcher._create(order) for order in orders] == [True, False]
        assert len(place.jobs()) == 2
        assert body["metadata"]["labels"]["loopcast.io/run-id"] == "fees-monitor-staging-261121120000"

    def test_old_runs_of_a_recurring_pipeline_go(self, place: Cluster) -> None:
        hourly = Recurring("fees-monitor-staging", "monitor", timedelta(hours=1))
        for hour in range(KEPT + 2):
            assert place.launcher.ensure_recurring(hourly, NOON + timedelta(hours=hour))
            self.settle(place)
        until(lambda: len(place.jobs()) == KEPT)
        kept = sorted(job["metadata"]["labels"]["loopcast.io/run-id"] for job in place.jobs())
        assert kept[-1] == "fees-monitor-staging-261121160000"

    def test_a_recurring_run_that_takes_too_long_is_ended_and_the_next_one_runs(self, place: Cluster) -> None:
        hourly = Recurring("fees-monitor-staging", "endless", timedelta(hours=1))
        assert place.launcher.ensure_recurring(hourly, NOON)
        until(place.running)
        later = replace(place.launcher, wall=lambda: place.launcher.wall() + 3700)
        assert not later.ensure_recurring(hourly, NOON + timedelta(hours=2))
        until(lambda: not place.jobs())
        assert place.launcher.ensure_recurring(hourly, NOON + timedelta(hours=2))

    def test_jobs_go_with_the_deployment_that_owns_them(self, place: Cluster) -> None:
        pod = template()["spec"]["template"]["spec"]
        labels = {"app": "operator"}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "operator"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
        kubectl("create", "-n", place.namespace, "-f", "-", given=deployment)
        owned = replace(place.launcher, owner=owner_of("operator", place.namespace))
        owned.launch(run("endless"))
        until(place.running)
        kubectl("delete", "deployment", "operator", "-n", place.namespace)
        until(lambda: not place.jobs() and not place.pods())

    def test_an_owner_that_is_not_there_is_told(self, namespace: str) -> None:
        with pytest.raises(SystemExit, match=f"the Deployment nobody in {namespace} can't be looked at: Not Found"):
            owner_of("nobody", namespace)
