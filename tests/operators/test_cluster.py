"""The operator against a real API server: `-m cluster`, with KUBECONFIG. AWS is local, KFP a small server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from operators.release_spec import ReleaseSpec
from operators.retraining_spec import RetrainingSpec
from tests.operators.conftest import CHECKOUT, Program, World, until
from tests.operators.kfp_server import Kfp, serving
from tests.operators.kube import get, kubectl, namespaced, require_cluster
from tests.operators.test_job_launcher import template

pytestmark = pytest.mark.cluster
CRDS = CHECKOUT / "manifests" / "operator" / "crds.yaml"


@pytest.fixture(scope="module")
def cluster() -> None:
    """A cluster with our definitions; they stay, as an operator's do."""
    require_cluster()
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


@pytest.fixture
def namespace(cluster: None) -> Iterator[str]:
    with namespaced() as name:
        yield name


@pytest.fixture
def kfp() -> Iterator[Kfp]:
    with serving() as server:
        for name in ("build", "rollback"):
            server.add_version(f"loopcast-{name}", "one", stage="STRING")
        server.add_version("loopcast-deploy", "one", stage="STRING", model_package_arn="STRING")
        yield server


def policy(kind: str, spec: dict[str, Any], name: str = "fees") -> dict[str, Any]:
    return {"apiVersion": "loopcast.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def apply(namespace: str, document: dict[str, Any]) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", given=document)


def status(namespace: str, kind: str) -> dict[str, Any]:
    return dict(get(namespace, kind, "fees").get("status", {}))


def events(namespace: str) -> list[tuple[str, str, str]]:
    items = json.loads(kubectl("get", "events", "-n", namespace, "-o", "json"))["items"]
    return [(item["type"], item["reason"], item["message"]) for item in items]


def start(world: World, namespace: str, kfp: Kfp, settled: bool = True, **env: str) -> Program:
    program = world.operator("--namespace", namespace, "--kfp-url", kfp.url, **env)
    if settled:
        until(lambda: "ready" if program.get("/healthz") else "", 30)
    return program


def retraining(world: World, **fields: Any) -> dict[str, Any]:
    alarm = world.names.alarm("staging", "degraded")
    return policy("RetrainingPolicy", {"feed": world.name, "triggers": {"alarms": [alarm]}, **fields})


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("RetrainingPolicy", {"feed": "x"}, "give a trigger, or say manualOnly"),
        ("RetrainingPolicy", {"feed": "x", "manualOnly": True, "cooldown": "0h"}, "must be longer than 0"),
        ("RetrainingPolicy", {"feed": "x", "manualOnly": True, "cooldown": "6 hours"}, "should match"),
        ("RetrainingPolicy", {"manualOnly": True}, "feed"),
        ("RetrainingPolicy", {"feed": "x", "manualOnly": True, "maxConcurrentRuns": 0}, "greater than or equal to 1"),
        (
            "RetrainingPolicy",
            {"feed": "x", "triggers": {"schedule": {"every": "1d", "cron": "0 0 * * *"}}},
            "give either every or cron",
        ),
        (
            "RetrainingPolicy",
            {"feed": "x", "manualOnly": True, "quietHours": [{"start": "08:00", "end": "08:00"}]},
            "start and end must differ",
        ),
        (
            "RetrainingPolicy",
            {"feed": "x", "triggers": {"metric": {"threshold": {"value": 1, "parameter": "/p"}}}},
            "give either value or parameter",
        ),
        ("ReleasePolicy", {"feed": "x", "production": {"approvedVersion": 1, "automatic": {}}}, "not both"),
        ("ReleasePolicy", {"feed": "x", "production": {"approvedVersion": 0}}, "greater than or equal to 1"),
    ],
)
def test_the_api_server_refuses_what_can_not_be_meant(
    cluster: None, kind: str, spec: dict[str, Any], said: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        kubectl("create", "--dry-run=server", "-f", "-", given=policy(kind, spec))
    assert said in refused.value.stderr


@pytest.mark.parametrize(
    ("kind", "model", "spec"),
    [
        ("RetrainingPolicy", RetrainingSpec, {"feed": "x", "manualOnly": True}),
        ("RetrainingPolicy", RetrainingSpec, {"feed": "x", "triggers": {"metric": {"threshold": {"value": 1}}}}),
        ("ReleasePolicy", ReleaseSpec, {"feed": "x", "production": {"automatic": {}}}),
    ],
)
def test_the_api_server_fills_in_the_same_defaults_as_the_models(
    cluster: None, kind: str, model: Any, spec: dict[str, Any]
) -> None:
    answer = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", given=policy(kind, spec))
    stored = json.loads(answer)["spec"]
    assert stored != spec
    assert model.model_validate(stored) == model.model_validate(spec)
    assert json.loads(model.model_validate(spec).model_dump_json(by_alias=True, exclude_none=True)) == stored


def test_an_alarm_launches_a_run_and_status_columns_and_events_tell_it(world: World, namespace: str, kfp: Kfp) -> None:
    program = start(world, namespace, kfp)
    apply(namespace, retraining(world))
    until(lambda: status(namespace, "rtp").get("reason") == "NothingDue")
    assert status(namespace, "rtp")["alarm"] == "OK"
    world.alarm("ALARM")
    until(lambda: status(namespace, "rtp").get("state") == "Running")
    [run] = kfp.all("runs")
    shown = status(namespace, "rtp")
    assert shown["lastRun"]["id"] == run["display_name"]
    assert {item["type"]: item["status"] for item in shown["conditions"]} == {"Ready": "True", "Progressing": "True"}
    kfp.end("FAILED", "The step train failed.")
    until(lambda: status(namespace, "rtp").get("reason") == "CoolingDown")
    columns = kubectl("get", "rtp", "-n", namespace).splitlines()
    assert columns[0].split() == ["NAME", "STATE", "ALARM", "LAST", "RUN", "LAUNCHED", "REASON", "AGE"]
    assert columns[1].split()[:4] == ["fees", "Waiting", "ALARM", "Failed"]
    told = events(namespace)
    assert ("Normal", "AlarmStanding") in [event[:2] for event in told]
    assert [event[1] for event in told].count("CoolingDown") == 1
    assert 'loopcast_operator_launches_total{kind="RetrainingPolicy",pipeline="build",policy="fees"' in program.get(
        "/metrics"
    )
    assert program.get("/readyz") == "ok\n"


def test_nothing_of_the_operator_is_left_on_a_policy(world: World, namespace: str, kfp: Kfp) -> None:
    program = start(world, namespace, kfp)
    apply(namespace, retraining(world))
    until(lambda: status(namespace, "rtp").get("reason") == "NothingDue")
    metadata = get(namespace, "rtp", "fees")["metadata"]
    assert "finalizers" not in metadata
    assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert program.stop() == 0
    kubectl("delete", "rtp", "fees", "-n", namespace, "--timeout=10s")


def test_an_annotation_asks_for_a_run_that_waits_for_no_cool_down_and_for_each_value_once(
    world: World, namespace: str, kfp: Kfp
) -> None:
    start(world, namespace, kfp)
    apply(namespace, retraining(world))
    for asked, value in enumerate(("please", "once-more"), start=1):
        kubectl("annotate", "rtp", "fees", "-n", namespace, "--overwrite", f"loopcast.io/retrain={value}")
        until(lambda asked=asked: len(kfp.all("runs")) == asked)
        kfp.end("SUCCEEDED")
        until(lambda: status(namespace, "rtp").get("reason") == "NothingDue")
    assert [claim["trigger"] for claim in world.claims()] == ["ManualRequest", "ManualRequest"]


def test_two_replicas_and_a_restart_launch_once(world: World, namespace: str, kfp: Kfp) -> None:
    first, second = start(world, namespace, kfp, settled=False), start(world, namespace, kfp)
    world.alarm("ALARM")
    apply(namespace, retraining(world))
    until(lambda: status(namespace, "rtp").get("state") == "Running")
    assert [first.stop(), second.stop()] == [0, 0]
    third = start(world, namespace, kfp)
    until(lambda: '"RunInProgress"' in third.text)
    assert len(kfp.all("runs")) == len(world.claims()) == 1


def test_an_approved_version_goes_to_staging(world: World, namespace: str, kfp: Kfp) -> None:
    start(world, namespace, kfp)
    apply(namespace, policy("ReleasePolicy", {"feed": world.name}))
    until(lambda: status(namespace, "rlp").get("reason") == "NothingApproved")
    arn = world.approve_package()
    until(lambda: kfp.all("runs"))
    [run] = kfp.all("runs")
    parameters = run["runtime_config"]["parameters"]
    assert (parameters["stage"], parameters["model_package_arn"]) == ("staging", arn)
    until(lambda: status(namespace, "rlp").get("state") == "Running")
    assert "Version 1 is approved" in str(events(namespace))


def test_a_policy_that_only_the_models_refuse_says_so_in_its_conditions(world: World, namespace: str, kfp: Kfp) -> None:
    start(world, namespace, kfp)
    apply(namespace, retraining(world, triggers={"schedule": {"cron": "whenever it suits"}}))
    [ready] = until(lambda: status(namespace, "rtp").get("conditions"))
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "no cron expression" in ready["message"]
    shown = status(namespace, "rtp")
    assert (shown["reason"], shown["message"]) == (ready["reason"], ready["message"])


def test_before_the_first_minute_a_policy_says_what_it_waits_for(world: World, namespace: str, kfp: Kfp) -> None:
    world.make_feature_group()
    start(world, namespace, kfp, LOOPCAST_SPEED="60")
    apply(namespace, retraining(world))
    until(lambda: status(namespace, "rtp").get("reason") == "NoMinutes")
    assert "no minute yet" in status(namespace, "rtp")["message"]


def as_itself(world: World, namespace: str) -> str:
    """The path of a KUBECONFIG with the operator's own role and nothing else."""
    kubectl("apply", "-n", namespace, "-f", str(CRDS.with_name("rbac.yaml")))
    token = kubectl("create", "token", "loopcast-operator", "-n", namespace).strip()
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    (world.folder / "kubeconfig").write_text(json.dumps(config))
    return str(world.folder / "kubeconfig")


def test_its_role_is_all_that_the_operator_needs(world: World, namespace: str, kfp: Kfp) -> None:
    start(world, namespace, kfp, KUBECONFIG=as_itself(world, namespace))
    world.alarm("ALARM")
    apply(namespace, retraining(world))
    until(lambda: status(namespace, "rtp").get("state") == "Running")
    until(lambda: "AlarmStanding" in str(events(namespace)))
    kubectl("delete", "rtp", "fees", "-n", namespace, "--timeout=10s")


def own_deployment(namespace: str) -> None:
    """A Deployment of the operator's name, which owns the Jobs."""
    labels = {"app": "operator"}
    pods = {"metadata": {"labels": labels}, "spec": template()["spec"]["template"]["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pods}
    metadata = {"name": "loopcast-operator"}
    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    kubectl("create", "-n", namespace, "-f", "-", given=document)


def jobs(world: World, namespace: str, **env: str) -> Program:
    """An operator that runs pipelines as Jobs."""
    (world.folder / "job.yaml").write_text(json.dumps(template()))
    flags = ["--runs", "jobs", "--job-template", str(world.folder / "job.yaml"), "--job-owner", "loopcast-operator"]
    return world.operator("--namespace", namespace, *flags, **env)


def test_without_kfp_an_alarm_runs_a_job_with_its_own_role_and_its_columns_tell_what_came_of_it(
    world: World, namespace: str
) -> None:
    config = as_itself(world, namespace)
    own_deployment(namespace)
    jobs(world, namespace, KUBECONFIG=config)
    world.alarm("ALARM")
    apply(namespace, retraining(world))
    until(lambda: get(namespace, "jobs")["items"])
    [job] = get(namespace, "jobs")["items"]
    assert job["metadata"]["annotations"]["loopcast.io/trigger"] == "AlarmStanding"
    assert job["metadata"]["labels"]["loopcast.io/policy"] == "fees"
    assert job["metadata"]["ownerReferences"][0]["name"] == "loopcast-operator"
    until(lambda: status(namespace, "rtp").get("lastRun", {}).get("state") == "Succeeded")
    assert status(namespace, "rtp")["lastRun"]["message"] == "Waits for approval."
    [head, row] = kubectl("get", "rtp", "-n", namespace, "-o", "wide").splitlines()
    assert head.split()[-4:] == ["RUN", "RUN", "SAID", "MESSAGE"]
    assert job["metadata"]["name"] in row
    assert "Waits for approval." in row


def test_without_kfp_a_run_that_takes_too_long_is_ended(world: World, namespace: str) -> None:
    own_deployment(namespace)
    jobs(world, namespace)
    world.alarm("ALARM")
    apply(namespace, retraining(world, pipeline={"name": "endless"}, runTimeout="2s"))
    until(lambda: status(namespace, "rtp").get("lastRun", {}).get("state") == "Canceled")
    until(lambda: not get(namespace, "jobs")["items"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--runs jobs needs a --job-template"),
        (["--job-template", "nowhere.yaml"], "The template nowhere.yaml can't be read"),
    ],
)
def test_an_operator_without_a_template_says_so_at_once(
    world: World, cluster: None, flags: list[str], said: str
) -> None:
    program = world.operator("--runs", "jobs", *flags)
    assert program.process.wait(30) == 1
    assert said in program.text
