"""The life of a release on a real cluster, chapter by chapter, each on what the one before has left: installed, fed,
taught, alarmed, retrained, upgraded, robbed of its pods, drained, rolled back and uninstalled. Whatever happens to it,
each minute that has closed is exactly what the source's ledger says."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.endpoint import invoke
from components.read_features.read_features import read_newest
from local.parts import ROOT
from loopcast.feed import load_feed
from tests.cluster.conftest import FAILED
from tests.cluster.kube import Namespace, has_cluster, name_of, run, until
from tests.cluster.stack import STAGE, ClusterStack, reached

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

FEED = ROOT / "feeds" / "bitcoin-fees.yaml"
SPEED = 120.0
"""Event seconds a second: everything stated in event time is scaled by it."""
HOURS = 5
AHEAD = timedelta(hours=48)
"""Event time begins so long before now: it must stay behind the wall clock to the end."""
REGIMES = (100.0, 1.0) * 8
"""What fees are multiplied by, a horizon each, until the alarm stands: whatever a model has learnt of the last hour is
wrong in the next."""
HORIZON = timedelta(minutes=30)
RANDOM = random.Random(20)
READY_SECONDS = 300


class Story:
    """Chapters build on each other: after one that failed, those that follow can't be told."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.start = datetime.now(UTC) - AHEAD
        self.broken = ""

    def install(self, *values: str) -> None:
        """`make install` with the values of this test, and `values` (name=value) on top."""
        given = [f"local-aws.source.start='{self.start:%Y-%m-%dT%H:%M:00Z}'", *values]
        settings = [argument for value in given for argument in ("--set", value)]
        images = [
            argument for name in ("registry", "tag") for argument in (f"--{name}", os.environ.get(name.upper(), ""))
        ]
        run(
            *(sys.executable, "-m", "install", "up", "--namespace", self.namespace.name, *images),
            *("--values-for", "laptop-cluster", "--values", str(ROOT / "tests" / "cluster" / "values.yaml"), *settings),
            seconds=900,
        )


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    if not has_cluster():
        pytest.skip("KUBECONFIG is not set: no cluster to test against")
    found = Story(Namespace("loopcast-life"))
    found.namespace.remove()
    found.namespace.create()
    found.install()
    yield found
    found.namespace.remove()


@pytest.fixture(scope="module")
def stack(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    folder = tmp_path_factory.mktemp("cluster")
    with reached(story.namespace, load_feed(FEED), SPEED, folder) as found:
        yield found


@pytest.fixture(autouse=True)
def chapter(story: Story, request: pytest.FixtureRequest) -> Iterator[None]:
    assert not story.broken, f"{story.broken} failed: this chapter builds on it"
    story.broken = request.node.name
    yield
    if not request.node.stash.get(FAILED, False):
        story.broken = ""


def test_every_part_comes_up_and_proves_that_it_works(story: Story) -> None:
    until(story.namespace.settled, "release whose pods are all ready", READY_SECONDS)
    said = run("helm", "test", story.namespace.release, "-n", story.namespace.name, "--timeout", "5m", seconds=600)
    assert "Phase:          Succeeded" in said
    assert "Phase:          Failed" not in said


def test_every_minute_is_exact(stack: ClusterStack) -> None:
    stack.source.set_speed(SPEED)
    stack.await_minutes(HOURS * 60, HOURS * 3600 / SPEED + 240)
    stack.source.set_speed(1.0)
    flow = stack.audit()
    assert flow.minutes >= HOURS * 60
    assert flow.exact


def test_a_model_is_trained_approved_and_served(story: Story, stack: ClusterStack) -> None:
    story.namespace.kubectl("annotate", "retrainingpolicies", "--all", "loopcast.io/retrain=first")
    build = until(lambda: stack.runs("build"), "run of the build pipeline", 60)[0]
    finished(stack, name_of(build), 900)
    version = stack.approve_newest()
    until(lambda: stack.served_version() == version, f"version {version} in service", 300)
    history = read_newest(stack.feed, stack.names)
    prediction = invoke(stack.feed, stack.names, STAGE, history)
    assert all(len(values) == stack.feed.forecast.steps for values in prediction.quantiles.values())


def test_an_alarm_leads_to_a_retraining_by_the_operator(story: Story, stack: ClusterStack) -> None:
    known = {name_of(job) for job in stack.runs("build")}
    stack.source.set_speed(SPEED / 2)  # so that each horizon is judged before the next is over
    until(lambda: len(sound(stack)) >= 2, "losses of the model in service", 300)
    any(alarmed_within_a_horizon(stack, fees) for fees in REGIMES)
    until(lambda: stack.alarm_state() == "ALARM", "alarm", 240)
    launched = until(lambda: [job for job in stack.runs("build") if name_of(job) not in known], "retraining", 120)[0]
    assert "stands" in reason_of(launched)
    stack.source.set_speed(1.0)
    finished(stack, name_of(launched), 900)


def test_an_upgrade_loses_nothing(story: Story, stack: ClusterStack) -> None:
    before = pods_of(story)
    stack.source.set_speed(SPEED / 10)
    story.install("global.podAnnotations={loopcast.io/upgrade: second}")
    until(story.namespace.settled, "release whose pods are all ready", READY_SECONDS)
    assert not before & pods_of(story)
    stack.await_minutes(5, 240)
    assert stack.audit().exact


def test_pods_of_every_kind_may_be_deleted_at_random(story: Story, stack: ClusterStack) -> None:
    stack.source.set_speed(SPEED / 10)
    components = sorted(story.namespace.components())
    for component in RANDOM.sample(components, len(components)):
        pod = RANDOM.choice(story.namespace.pods(component))
        story.namespace.kubectl("delete", "pod", name_of(pod), "--wait=false")
    until(story.namespace.settled, "release whose pods are all ready", READY_SECONDS)
    stack.await_minutes(5, 240)
    assert stack.audit().exact
    assert stack.served_version()


def test_a_retraining_outlives_its_pods(story: Story, stack: ClusterStack) -> None:
    known = {name_of(job) for job in stack.runs("build")}
    story.namespace.kubectl("annotate", "retrainingpolicies", "--all", "--overwrite", "loopcast.io/retrain=second")
    launched = until(lambda: [job for job in stack.runs("build") if name_of(job) not in known], "retraining", 120)[0]
    story.namespace.lose("app.kubernetes.io/component=training-job")
    story.namespace.lose(f"batch.kubernetes.io/job-name={name_of(launched)}")
    finished(stack, name_of(launched), 900)


def test_programs_may_be_killed_without_a_word(story: Story, stack: ClusterStack) -> None:
    """What has no state of its own dies as a node's power ends: no SIGTERM is heard."""
    stack.source.set_speed(SPEED / 10)
    for component in ("poller", "deduplicator", "feature-writer", "repairer", "flink-jobmanager", "flink-taskmanager"):
        pod = RANDOM.choice(story.namespace.pods(component))
        story.namespace.kubectl("delete", "pod", name_of(pod), "--force", "--grace-period=0")
    until(story.namespace.settled, "release whose pods are all ready", READY_SECONDS)
    stack.await_minutes(5, 240)
    assert stack.audit().exact


def test_a_drained_node_gives_everything_back(story: Story, stack: ClusterStack) -> None:
    node = story.namespace.pods("local-aws")[0]["spec"]["nodeName"]
    selector = f"app.kubernetes.io/instance={story.namespace.release}"
    drain = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s", "--pod-selector", selector)
    try:
        run("kubectl", "drain", node, *drain, seconds=300)
    finally:
        run("kubectl", "uncordon", node)
    until(story.namespace.settled, "release whose pods are all ready", READY_SECONDS)
    stack.await_minutes(5, 240)
    assert stack.audit().exact


def test_a_rollback_goes_back_and_loses_nothing(story: Story, stack: ClusterStack) -> None:
    before, version = pods_of(story), stack.served_version()
    namespace = story.namespace
    run("helm", "rollback", namespace.release, "1", "-n", namespace.name, "--wait", "--timeout", "8m", seconds=600)
    until(namespace.settled, "release whose pods are all ready", READY_SECONDS)
    assert not before & pods_of(story)
    stack.await_minutes(5, 240)
    assert stack.audit().exact
    assert stack.served_version() == version


def test_uninstalling_leaves_nothing(story: Story) -> None:
    namespace = story.namespace
    run(sys.executable, "-m", "install", "down", "--namespace", namespace.name, seconds=300)
    until(namespace.is_empty, "empty namespace", 120)
    volumes = ("kubectl", "get", "persistentvolumes", "-o", "wide")
    until(lambda: namespace.name not in run(*volumes), "end of the volumes", 120)
    assert "loopcast" not in run("kubectl", "get", "clusterroles,clusterrolebindings,customresourcedefinitions")


def alarmed_within_a_horizon(stack: ClusterStack, fees: float) -> bool:
    """Whether the alarm stands before a horizon is over, with fees so many times as high as at first."""
    end = stack.source.now() + HORIZON
    stack.source.change_regime(fees=fees, volume=0.5)
    until(lambda: stack.alarm_state() == "ALARM" or stack.source.now() >= end, "end of a horizon", 300)
    return stack.alarm_state() == "ALARM"


def finished(stack: ClusterStack, job: str, seconds: float) -> None:
    """Until the run's Job has succeeded. Raises `AssertionError` at once when it failed for good."""

    def over() -> set[str]:
        found = next((item for item in stack.namespace.get("jobs") if name_of(item) == job), None)
        conditions = found["status"].get("conditions", ()) if found else [{"type": "Gone", "status": "True"}]
        return {item["type"] for item in conditions if item["status"] == "True"} & {"Complete", "Failed", "Gone"}

    ended = until(over, f"end of the run {job}", seconds)
    assert ended == {"Complete"}, f"{job}: {ended} {stack.namespace.kubectl('logs', f'job/{job}', '--tail=30')}"


def sound(stack: ClusterStack) -> list[dict[str, Any]]:
    return [record for record in stack.history() if record["loss"] is not None]


def reason_of(job: dict[str, Any]) -> str:
    return str(job["metadata"].get("annotations", {}).get("loopcast.io/reason", ""))


def pods_of(story: Story) -> set[str]:
    """The ids of the pods of the release's own workloads: not those of endpoints, which live on."""
    own = story.namespace.components(managed_by="Helm")
    return {str(pod["metadata"]["uid"]) for part in own for pod in story.namespace.pods(part)}
