"""The ingestion's chart: four parts, any number of replicas."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import pytest
from prometheus_client import REGISTRY

from loopcast.names import Names
from loopcast.service import GRACE, LAST_CALL
from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, HelmError, Object, env, find, kinds, pods

PARTS = {
    "poller": "poller",
    "deduplicator": "deduplicator",
    "featureWriter": "feature-writer",
    "repairer": "repairer",
}
every_part = pytest.mark.parametrize(("key", "part"), PARTS.items(), ids=PARTS.values())


def deployment(objects: list[Object], part: str) -> Object:
    return find(objects, "Deployment", f"loopcast-{part}")


def container(objects: list[Object], part: str) -> Object:
    return dict(deployment(objects, part)["spec"]["template"]["spec"]["containers"][0])


@every_part
def test_should_run_the_program_of_the_part(render: Render, key: str, part: str) -> None:
    args = container(render("ingestion"), part)["args"]
    assert args[:2] == ["python", "-m"]
    assert importlib.util.find_spec(args[2]) is not None
    assert args[2] == f"ingestion.{part.replace('-', '_')}"


@every_part
def test_should_make_nothing_of_a_part_that_is_off(render: Render, key: str, part: str) -> None:
    names = {name for _, name in kinds(render("ingestion", {key: {"enabled": False}}))}
    assert f"loopcast-{part}" not in names


@every_part
def test_should_let_a_stop_end_before_the_pod_is_killed(render: Render, key: str, part: str) -> None:
    spec = deployment(render("ingestion"), part)["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > GRACE + LAST_CALL + 5


@every_part
def test_should_guard_several_replicas_from_drains(render: Render, key: str, part: str) -> None:
    budget = ("PodDisruptionBudget", f"loopcast-{part}")
    assert budget not in kinds(render("ingestion"))
    assert budget in kinds(render("ingestion", {key: {"replicas": 2}}))
    least = render("ingestion", {key: {"replicas": 3, "podDisruptionBudget": {"minAvailable": 2}}})
    assert find(least, *budget)["spec"]["minAvailable"] == 2
    assert "maxUnavailable" not in find(least, *budget)["spec"]
    off = {key: {"replicas": 2, "podDisruptionBudget": {"enabled": False}}}
    assert budget not in kinds(render("ingestion", off))


@every_part
def test_should_spread_replicas_over_zones_and_nodes(render: Render, key: str, part: str) -> None:
    constraints = deployment(render("ingestion"), part)["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {item["topologyKey"] for item in constraints} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(item["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == part for item in constraints)


@every_part
def test_should_name_the_role_of_the_part_with_irsa(render: Render, key: str, part: str) -> None:
    values = {"global": {"aws": {"irsa": True, "account": "123456789012"}}}
    account = find(render("ingestion", values), "ServiceAccount", f"loopcast-{part}")
    role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert role == Names("bitcoin-fees", "123456789012").role_arn(part)


def test_should_need_the_account_for_irsa(render: Render) -> None:
    with pytest.raises(HelmError, match=r"global\.aws\.irsa needs global\.aws\.account"):
        render("ingestion", {"global": {"aws": {"irsa": True}}})


def test_should_use_a_service_account_that_is_there(render: Render) -> None:
    values = {"poller": {"serviceAccount": {"create": False, "name": "mine"}}}
    objects = render("ingestion", values)
    assert deployment(objects, "poller")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    assert ("ServiceAccount", "loopcast-poller") not in kinds(objects)


def test_should_find_local_aws_and_its_source_if_they_are_of_the_release(render: Render) -> None:
    values = {"global": {"aws": {"local": True}, "sourceUrl": "http://{{ .Release.Name }}-source:4568/x"}}
    known = env(deployment(render("ingestion", values), "poller")["spec"]["template"])
    assert known["AWS_ENDPOINT_URL"] == "http://loopcast-local-aws:4566"
    for service in ("SAGEMAKER", "SAGEMAKER_RUNTIME", "SAGEMAKER_FEATURESTORE_RUNTIME"):
        assert known[f"AWS_ENDPOINT_URL_{service}"] == "http://loopcast-sagemaker:4567"
    assert known["LOOPCAST_SOURCE_URL"] == "http://loopcast-source:4568/x"
    assert known["LOOPCAST_ACCOUNT"] == "000000000000"
    assert known["AWS_ACCESS_KEY_ID"]


def test_should_say_nothing_of_where_aws_is_if_it_is_aws(render: Render) -> None:
    known = env(deployment(render("ingestion"), "poller")["spec"]["template"])
    assert not [name for name in known if "ENDPOINT" in name or "KEY" in name or name == "LOOPCAST_ACCOUNT"]


def test_should_take_credentials_from_a_secret(render: Render) -> None:
    values = {"global": {"aws": {"credentialsSecret": "aws-credentials"}}}
    known = env(deployment(render("ingestion", values), "poller")["spec"]["template"])
    assert known["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["name"] == "aws-credentials"
    assert known["AWS_SESSION_TOKEN"]["secretKeyRef"]["optional"]


def test_should_restart_the_pods_if_the_feed_changes(render: Render) -> None:
    feed = (CHARTS / "ingestion" / "files" / "feed.yaml").read_text()
    first, second = render("ingestion"), render("ingestion", {"global": {"feed": feed.replace("30m", "60m")}})
    for (_, one), (_, other) in zip(pods(first), pods(second), strict=True):
        if "annotations" in one["metadata"] and "loopcast.io/feed-checksum" in one["metadata"]["annotations"]:
            assert one["metadata"]["annotations"] != other["metadata"]["annotations"]
    assert "60m" in find(second, "ConfigMap", "loopcast-ingestion-feed")["data"]["feed.yaml"]


def test_should_annotate_every_pod_if_told(render: Render) -> None:
    objects = render("ingestion", {"global": {"podAnnotations": {"a/b": "c"}}})
    assert all(
        deployment(objects, part)["spec"]["template"]["metadata"]["annotations"]["a/b"] == "c"
        for part in PARTS.values()
    )


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "loopcast/ingestion:0.1.0"),
        ({"global": {"image": {"registry": "r.example/x/", "tag": "1"}}}, "r.example/x/loopcast/ingestion:1"),
        ({"poller": {"image": {"tag": "2"}}}, "loopcast/ingestion:2"),
        ({"poller": {"image": {"repository": "mine", "digest": f"sha256:{'0' * 64}"}}}, f"mine@sha256:{'0' * 64}"),
    ],
)
def test_should_name_the_image(render: Render, values: dict[str, Any], image: str) -> None:
    assert container(render("ingestion", values), "poller")["image"] == image


# --- autoscaling --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("key", "kind"), [("deduplicator", "keda"), ("featureWriter", "hpa")])
def test_should_leave_the_number_of_replicas_to_the_autoscaler(render: Render, key: str, kind: str) -> None:
    part = PARTS[key]
    assert deployment(render("ingestion"), part)["spec"]["replicas"] == 1
    scaled = render("ingestion", {key: {"autoscaling": {"enabled": True, "kind": kind}}})
    assert "replicas" not in deployment(scaled, part)["spec"]


def test_should_scale_the_deduplicator_by_the_depth_of_its_queue(render: Render) -> None:
    objects = render("ingestion", {"deduplicator": {"autoscaling": {"enabled": True, "kind": "keda"}}})
    trigger = find(objects, "ScaledObject", "loopcast-deduplicator")["spec"]["triggers"][0]
    assert trigger["metadata"]["queueURL"] == Names("bitcoin-fees", "").queue
    objects = render("ingestion", {"deduplicator": {"autoscaling": {"enabled": True}}})
    metric = find(objects, "HorizontalPodAutoscaler", "loopcast-deduplicator")["spec"]["metrics"][0]["external"]
    assert metric["metric"]["name"] in metrics()
    assert metric["target"] == {"type": "AverageValue", "averageValue": "500"}


def test_should_scale_the_feature_writer_by_the_age_of_its_iterator(render: Render) -> None:
    objects = render("ingestion", {"featureWriter": {"autoscaling": {"enabled": True, "kind": "keda", "target": 30}}})
    trigger = find(objects, "ScaledObject", "loopcast-feature-writer")["spec"]["triggers"][0]["metadata"]
    assert trigger["dimensionValue"] == Names("bitcoin-fees", "").minutes_stream
    assert trigger["targetMetricValue"] == "30000"
    objects = render("ingestion", {"featureWriter": {"autoscaling": {"enabled": True}}})
    metric = find(objects, "HorizontalPodAutoscaler", "loopcast-feature-writer")["spec"]["metrics"][0]["external"]
    assert metric["metric"]["name"] in metrics()


# --- seeing what goes on ------------------------------------------------------------------------------------------
def metrics() -> set[str]:
    """The names of all metrics that the programs have."""
    for part in PARTS.values():
        importlib.import_module(f"ingestion.{part.replace('-', '_')}")
    found = {metric.name: metric.type for metric in REGISTRY.collect()}
    return {f"{name}_total" if kind == "counter" else name for name, kind in found.items()}


def test_should_show_only_metrics_that_exist(render: Render) -> None:
    objects = render("ingestion", {"global": {"dashboards": {"enabled": True}}})
    config = find(objects, "ConfigMap", "loopcast-ingestion-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    board = json.loads(config["data"]["loopcast-ingestion.json"])
    asked = {name for panel in board["panels"] for target in panel["targets"] for name in named(target["expr"])}
    assert asked
    assert asked <= metrics()


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bloopcast_\w+", expression))


def test_should_let_prometheus_find_every_part_if_told(render: Render) -> None:
    assert not [item for item in render("ingestion") if item["kind"] == "ServiceMonitor"]
    values = {"global": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}
    objects = render("ingestion", values)
    for part in PARTS.values():
        monitor = find(objects, "ServiceMonitor", f"loopcast-{part}")
        service = find(objects, "Service", f"loopcast-{part}")
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


# --- who may talk to whom -----------------------------------------------------------------------------------------
def outward(objects: list[Object], part: str) -> list[Object]:
    return list(find(objects, "NetworkPolicy", f"loopcast-{part}")["spec"]["egress"])


def ports(rules: list[Object]) -> set[int]:
    return {port["port"] for rule in rules for port in rule.get("ports", [])}


def test_should_let_in_only_who_reads_metrics(render: Render) -> None:
    rules = find(render("ingestion"), "NetworkPolicy", "loopcast-repairer")["spec"]["ingress"]
    assert ports(rules) == {8080}


def test_should_let_only_the_poller_out_to_the_source(render: Render) -> None:
    objects = render("ingestion", {"global": {"sourceUrl": "http://source.example:8123/x", "aws": {"local": True}}})
    assert 8123 in ports(outward(objects, "poller"))
    assert 8123 not in ports(outward(objects, "deduplicator"))


def test_should_let_out_to_local_aws_alone_if_it_is_local(render: Render) -> None:
    rules = outward(render("ingestion", {"global": {"aws": {"local": True}}}), "deduplicator")
    assert ports(rules) == {53, 4566, 4567}
    targets = [
        rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for rule in rules if "to" in rule
    ]
    assert targets == ["local-aws", "sagemaker"]


def test_should_have_no_policy_if_told(render: Render) -> None:
    objects = render("ingestion", {"global": {"networkPolicy": {"enabled": False}}})
    assert not [item for item in objects if item["kind"] == "NetworkPolicy"]


# --- helm test ----------------------------------------------------------------------------------------------------
def test_should_prove_that_events_and_minutes_flow(render: Render) -> None:
    pod = find(render("ingestion"), "Pod", "loopcast-ingestion-test")
    args = pod["spec"]["containers"][0]["args"]
    assert args[2] == "ingestion.probe"
    assert args[-2:] == ["--feature-writer", "http://loopcast-feature-writer:8080"]
    assert pod["spec"]["serviceAccountName"] == "loopcast-feature-writer"


def test_should_not_wait_for_minutes_that_nobody_makes(render: Render) -> None:
    pod = find(render("ingestion", {"tests": {"minutes": False}}), "Pod", "loopcast-ingestion-test")
    assert "--feature-writer" not in pod["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"poller": {"replicas": -1}}, "minimum: got -1, want 0"),
        ({"poller": {"autoscaling": {"enabled": True}}}, "additional properties 'autoscaling' not allowed"),
        ({"deduplicator": {"autoscaling": {"kind": "vpa"}}}, "value must be one of 'hpa', 'keda'"),
        (
            {"deduplicator": {"autoscaling": {"enabled": True, "minReplicas": 9}}},
            "deduplicator.autoscaling.minReplicas is 9, and maxReplicas only 8",
        ),
        ({"poller": {"resources": {"requests": {"memory": "lots"}}}}, "'lots' does not match pattern"),
        ({"tests": {"seconds": 0}}, "minimum: got 0, want 1"),
    ],
)
def test_should_say_clearly_what_is_wrong(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as refused:
        render("ingestion", values)
    assert said in str(refused.value)
