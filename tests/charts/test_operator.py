"""The operator's chart: one replica with the rights it needs, the definitions, and the Jobs of its runs."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopcast.names import Names
from operators.__main__ import _flags as add_flags
from operators.launchers.manifest import CONTAINER, Order, job, read_template
from operators.metrics import _event_time, _failures, _launches, _looks
from tests.charts import pod_security, schemas
from tests.charts.conftest import Render
from tests.charts.policies import POLICIES
from tests.charts.rendering import CHARTS, ROOT, Helm, HelmError, Object, find, hook, kinds

KFP = {
    "runs": {"mode": "kfp", "kfp": {"url": "http://kfp.example:8888", "namespace": "users", "serviceAccount": "editor"}}
}


def args(objects: list[Object]) -> list[str]:
    return list(find(objects, "Deployment", "loopcast-operator")["spec"]["template"]["spec"]["containers"][0]["args"])


def documents(name: str) -> list[Object]:
    return [item for item in yaml.safe_load_all((ROOT / "manifests" / "operator" / name).read_text()) if item]


def rules(objects: list[Object], kind: str, name: str) -> list[Object]:
    return list(find(objects, kind, name)["rules"])


def test_should_be_one_at_a_time(render: Render) -> None:
    spec = find(render("operator"), "Deployment", "loopcast-operator")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("values", [{}, KFP], ids=["jobs", "kfp"])
def test_should_give_the_operator_flags_that_it_knows(render: Render, values: dict[str, Any]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser)
    settings = parser.parse_args(args(render("operator", values, namespace="streams"))[3:])
    assert settings.namespace == "streams"
    assert settings.runs == ("kfp" if values else "jobs")
    if values:
        assert (settings.kfp_url, settings.kfp_namespace) == ("http://kfp.example:8888", "users")
        assert settings.kfp_service_account == "editor"
    else:
        assert str(settings.job_template) == "/etc/loopcast-runs/job.yaml"
        assert settings.job_owner == "loopcast-operator"


# --- rights -------------------------------------------------------------------------------------------------------
def test_should_have_the_rights_that_the_operators_room_says(render: Render) -> None:
    declared = next(item for item in documents("rbac.yaml") if item["kind"] == "Role")["rules"]
    text = json.dumps(declared).replace("loopcast-operator", "fees-operator")
    assert rules(render("operator", release="fees"), "Role", "fees-operator") == json.loads(text)


def test_should_have_no_rights_on_jobs_if_runs_are_not_jobs(render: Render) -> None:
    given = {
        resource
        for rule in rules(render("operator", KFP), "Role", "loopcast-operator")
        for resource in rule["resources"]
    }
    assert given == {
        "retrainingpolicies",
        "releasepolicies",
        "retrainingpolicies/status",
        "releasepolicies/status",
        "events",
    }


def test_should_have_rights_in_the_whole_cluster_only_while_a_hook_runs(render: Render) -> None:
    wide = [item for item in render("operator") if item["kind"].startswith("Cluster")]
    assert wide
    assert all(hook(item) for item in wide)
    declared = next(item for item in documents("crds-rbac.yaml") if item["kind"] == "ClusterRole")["rules"]
    assert all(item["rules"] == declared for item in wide if item["kind"] == "ClusterRole")


def test_should_give_a_token_to_nobody_else(render: Render) -> None:
    objects = render("operator")
    template = yaml.safe_load(find(objects, "ConfigMap", "loopcast-operator-runs")["data"]["job.yaml"])
    assert template["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


# --- definitions --------------------------------------------------------------------------------------------------
def test_should_have_the_definitions_that_the_operators_room_makes() -> None:
    ours = (CHARTS / "operator" / "crds" / "crds.yaml").read_text()
    assert ours == (ROOT / "manifests" / "operator" / "crds.yaml").read_text()


@pytest.mark.parametrize(
    ("values", "applied", "deleted"),
    [({}, True, True), ({"crds": {"keep": True}}, True, False), ({"crds": {"hooks": False}}, False, False)],
)
def test_should_keep_the_definitions_up_to_date_and_remove_them_unless_told(
    render: Render, values: dict[str, Any], applied: bool, deleted: bool
) -> None:
    jobs = {item["metadata"]["name"]: item for item in render("operator", values) if item["kind"] == "Job"}
    assert ("loopcast-operator-crds-apply" in jobs) == applied
    assert ("loopcast-operator-crds-delete" in jobs) == deleted
    if applied:
        assert hook(jobs["loopcast-operator-crds-apply"]) == {"pre-install", "pre-upgrade"}
    if deleted:
        assert hook(jobs["loopcast-operator-crds-delete"]) == {"post-delete"}


@pytest.mark.parametrize(
    ("crds", "why"), [({}, ""), ({"keep": True}, "crds.keep"), ({"hooks": False}, "crds.hooks is false")]
)
@pytest.mark.parametrize("chart", ["operator", "loopcast"])
def test_should_say_how_the_definitions_go_if_uninstalling_leaves_them(
    helm: Helm, chart: str, crds: dict[str, Any], why: str
) -> None:
    values = {"crds": crds} if chart == "operator" else {"operator": {"crds": crds}}
    said = helm.notes(chart, values)
    assert ("Uninstalling leaves the definitions" in said) == bool(why)
    if why:
        assert f"{why})" in said
        assert f"kubectl delete crd {' '.join(item['metadata']['name'] for item in documents('crds.yaml'))}" in said


def test_should_take_its_rights_along_to_each_hook(render: Render) -> None:
    objects = render("operator")
    for name, when in (("apply", "pre-install,pre-upgrade"), ("delete", "post-delete")):
        mine = [item for item in objects if item["metadata"]["name"].startswith(f"loopcast-operator-crds-{name}")]
        assert {item["kind"] for item in mine} >= {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"}
        assert {item["metadata"]["annotations"]["helm.sh/hook"] for item in mine} == {when}
        weights = {item["kind"]: int(item["metadata"]["annotations"]["helm.sh/hook-weight"]) for item in mine}
        assert weights["Job"] > max(weight for kind, weight in weights.items() if kind != "Job")


# --- runs ---------------------------------------------------------------------------------------------------------
def run_of(objects: list[Object], folder: Path) -> Object:
    """The Job that the operator makes of the chart's template."""
    path = folder / "job.yaml"
    path.write_text(find(objects, "ConfigMap", "loopcast-operator-runs")["data"]["job.yaml"])
    order = Order("build-1", "build-1", ["build", "--feed", "/etc/loopcast/feed.yaml"], "build", {"policy": "p"})
    made = job(read_template(path), order, None)
    made["metadata"]["namespace"] = "loopcast"
    return made


def test_should_make_runs_that_kubernetes_takes_and_that_are_restricted(render: Render, tmp_path: Path) -> None:
    objects = render("operator", {"global": {"aws": {"local": True}}})
    made = run_of(objects, tmp_path)
    assert list(schemas.faults([made])) == []
    assert list(pod_security.violations(made["spec"]["template"])) == []
    made["metadata"]["name"] = "loopcast-run"
    made["metadata"]["labels"]["helm.sh/chart"] = "none: the operator makes it"
    for policy in POLICIES:
        assert list(policy([*objects, made])) == [], policy.__name__


def test_should_run_pipelines_with_the_pipelines_own_role(render: Render, tmp_path: Path) -> None:
    values = {"global": {"aws": {"irsa": True, "account": "123456789012"}}}
    objects = render("operator", values)
    made = run_of(objects, tmp_path)
    account = made["spec"]["template"]["spec"]["serviceAccountName"]
    annotations = find(objects, "ServiceAccount", account)["metadata"]["annotations"]
    assert annotations["eks.amazonaws.com/role-arn"] == Names("bitcoin-fees", "123456789012").role_arn("pipelines")


def test_should_say_what_a_run_may_use_and_how_long(render: Render, tmp_path: Path) -> None:
    jobs = {
        "keptSeconds": 60,
        "deadlineSeconds": 120,
        "nodeSelector": {"a": "b"},
        "extraEnv": [{"name": "X", "value": "1"}],
    }
    spec = run_of(render("operator", {"runs": {"jobs": jobs}}), tmp_path)["spec"]
    assert (spec["ttlSecondsAfterFinished"], spec["activeDeadlineSeconds"]) == (60, 120)
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"] == {"a": "b"}
    assert {"name": "X", "value": "1"} in pod["containers"][0]["env"]
    assert pod["containers"][0]["name"] == CONTAINER


def test_should_make_no_jobs_if_kubeflow_runs_the_pipelines(render: Render) -> None:
    objects = render("operator", KFP)
    assert ("ConfigMap", "loopcast-operator-runs") not in kinds(objects)
    egress = find(objects, "NetworkPolicy", "loopcast-operator")["spec"]["egress"]
    assert 8888 in {port["port"] for rule in egress for port in rule["ports"]}


# --- seeing what goes on ------------------------------------------------------------------------------------------
def test_should_alert_on_metrics_that_exist(render: Render) -> None:
    assert not [item for item in render("operator") if item["kind"] == "PrometheusRule"]
    rule = find(render("operator", {"prometheusRule": {"enabled": True}}), "PrometheusRule", "loopcast-operator")
    expressions = " ".join(item["expr"] for group in rule["spec"]["groups"] for item in group["rules"])
    assert {f"{metric.describe()[0].name}_total" for metric in (_looks, _failures)} == {
        word.split("{")[0].split("(")[-1] for word in expressions.split() if "loopcast_" in word
    }


def test_should_show_only_metrics_that_exist(render: Render) -> None:
    assert ("ConfigMap", "loopcast-operator-dashboard") not in kinds(render("operator"))
    objects = render("operator", {"global": {"dashboards": {"enabled": True}}})
    config = find(objects, "ConfigMap", "loopcast-operator-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    board = json.loads(config["data"]["loopcast-operator.json"])
    shown = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bloopcast_\w+", target["expr"])
    }
    counters = {f"{metric.describe()[0].name}_total" for metric in (_looks, _failures, _launches)}
    assert shown == counters | {_event_time.describe()[0].name}


def test_should_prove_that_the_operator_answers(render: Render) -> None:
    objects = render("operator")
    pod = find(objects, "Pod", "loopcast-operator-test")
    assert hook(pod) == {"test"}
    compile(find(objects, "ConfigMap", "loopcast-operator-test")["data"]["probe.py"], "probe.py", "exec")
    allowed = rules(objects, "Role", "loopcast-operator-test")
    assert allowed[1]["resourceNames"] == ["loopcast-operator-test"]
    assert {verb for rule in allowed for verb in rule["verbs"]} == {"create", "get", "delete"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"runs": {"mode": "argo"}}, "value must be one of 'jobs', 'kfp'"),
        ({"pollInterval": 0}, "exclusiveMinimum"),
        ({"runs": {"kfp": {"url": "ml-pipeline"}}}, "does not match pattern"),
        ({"runs": {"jobs": {"tmpSize": "much"}}}, "does not match pattern"),
    ],
)
def test_should_say_clearly_what_is_wrong(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as refused:
        render("operator", values)
    assert said in str(refused.value)
