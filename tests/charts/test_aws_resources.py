"""The AWS resources' chart: the applier as a Job, or objects for ACK."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from applier.manifest import Cluster, placeholders, read_manifests
from loopcast.feed import load_feed
from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, ROOT, HelmError, Object, env, find, hook, kinds

ACCOUNT, REGION = "123456789012", "eu-west-1"
ACK: dict[str, Any] = {"mode": "ack", "global": {"aws": {"account": ACCOUNT, "region": REGION}}}
FEED = """
name: ferry-tickets-of-the-north-sea
title: Ferry tickets
source: {url: "https://example.org/tickets", items: tickets, page_size: 100, min_poll_interval: 1s,
         max_poll_interval: 15s, timeout: 10s}
event:
  noun: ticket
  id: id
  time: at
  time_unit: s
  max_clock_skew: 1m
  values:
    price: {path: price, type: number, unit: euro}
    seats: {path: seats, type: integer, unit: seat}
stream: {shards: 3, max_shards: 4}
window: {size: 1m, lateness: 30s, deduplication: 3h}
metrics:
  tickets: {aggregate: count, unit: ticket}
  seats_sold: {aggregate: sum, of: seats, unit: seat}
  revenue: {aggregate: sum, of: price, unit: euro}
  average_price: {aggregate: mean, of: price, unit: euro/ticket}
  price_of_a_seat: {aggregate: ratio, of: price, per: seats, unit: euro/seat}
forecast: {target: revenue, horizon: 90m, quantiles: [0.1, 0.5, 0.9]}
thresholds: {}
"""


def ack_objects(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return {
        (item["kind"], item["metadata"]["name"]): item for item in objects if "services.k8s.aws" in item["apiVersion"]
    }


def test_should_apply_all_of_manifests_aws_by_default(render: Render) -> None:
    job = find(render("aws-resources"), "Job", "loopcast-aws-resources-1")
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["python", "-m", "applier", "apply", "manifests/aws"]
    assert not hook(job), "pods that helm waits for wait for what it makes"


def test_should_not_try_again_if_the_manifests_can_not_be_used(render: Render) -> None:
    job = find(render("aws-resources"), "Job", "loopcast-aws-resources-1")
    fatal = {"containerName": "applier", "operator": "In", "values": [2]}
    assert {"action": "FailJob", "onExitCodes": fatal} in job["spec"]["podFailurePolicy"]["rules"]


def test_should_tell_the_applier_whose_pods_the_roles_are_for(render: Render) -> None:
    values = {"oidcProvider": "oidc.eks.eu-west-1.amazonaws.com/id/A", "pipelinesAccount": "users/editor"}
    job = find(render("aws-resources", values, release="fees", namespace="streams"), "Job", "fees-aws-resources-1")
    known = env(job["spec"]["template"])
    assert known["LOOPCAST_RELEASE"] == "fees"
    assert known["LOOPCAST_NAMESPACE"] == "streams"
    assert known["LOOPCAST_OIDC_PROVIDER"] == "oidc.eks.eu-west-1.amazonaws.com/id/A"
    assert known["LOOPCAST_PIPELINES_ACCOUNT"] == "users/editor"


def test_should_wait_for_local_aws_if_there_is_one(render: Render) -> None:
    job = find(render("aws-resources", {"global": {"aws": {"local": True}}}), "Job", "loopcast-aws-resources-1")
    waits = job["spec"]["template"]["spec"]["initContainers"][0]["args"]
    assert waits[-2:] == ["http://loopcast-local-aws:4566", "http://loopcast-sagemaker:4567"]
    compile(waits[2], "wait.py", "exec")
    real = find(render("aws-resources"), "Job", "loopcast-aws-resources-1")
    assert "initContainers" not in real["spec"]["template"]["spec"]


def test_should_tell_helm_if_the_job_failed(render: Render) -> None:
    objects = render("aws-resources")
    check = find(objects, "Job", "loopcast-aws-resources-check")
    assert hook(check) == {"post-install", "post-upgrade", "post-rollback"}
    assert env(check["spec"]["template"])["NAME"] == "loopcast-aws-resources-1"
    rules = find(objects, "Role", "loopcast-aws-resources-check")["rules"]
    assert rules[0]["resourceNames"] == ["loopcast-aws-resources-1"]
    compile(check["spec"]["template"]["spec"]["containers"][0]["args"][2], "check.py", "exec")
    assert ("Job", "loopcast-aws-resources-check") not in kinds(render("aws-resources", {"check": False}))


def test_should_delete_nothing_in_aws_unless_told(render: Render) -> None:
    assert not [item for item in render("aws-resources") if "post-delete" in hook(item)]


def test_should_destroy_once_the_release_is_gone_if_told(render: Render) -> None:
    objects = [item for item in render("aws-resources", {"onUninstall": "destroy"}) if "post-delete" in hook(item)]
    job = find(objects, "Job", "loopcast-aws-resources-destroy")
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["python", "-m", "applier", "destroy", "--yes"]
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "loopcast-aws-resources", "the role is its own"
    assert ("ServiceAccount", "loopcast-aws-resources") in kinds(objects)
    assert ("ConfigMap", "loopcast-aws-resources-destroy-feed") in kinds(objects)


def test_should_not_destroy_local_aws_which_goes_with_the_release(render: Render) -> None:
    values = {"onUninstall": "destroy", "global": {"aws": {"local": True}}}
    assert not [item for item in render("aws-resources", values) if "post-delete" in hook(item)]


def test_should_give_ack_what_the_manifests_say(render: Render) -> None:
    feed = load_feed(ROOT / "feeds" / "bitcoin-fees.yaml")
    values = placeholders(feed, ACCOUNT, REGION, Cluster("", "loopcast", "loopcast", ""))
    rendered = ack_objects(render("aws-resources", {**ACK, "onUninstall": "destroy"}))
    declared = [item for text in filled(values) for item in yaml.safe_load_all(text)]
    ours = {
        (item["kind"], item["metadata"]["name"]): item
        for item in declared
        if item
        and item["apiVersion"].split("/")[0].endswith(".services.k8s.aws")
        and item["metadata"].get("annotations", {}).get("loopcast.io/applied-by") != "applier"
    }
    assert rendered.keys() == ours.keys()
    for key, item in ours.items():
        assert rendered[key]["spec"] == item["spec"], key
        assert rendered[key]["metadata"].get("annotations", {}) == item["metadata"].get("annotations", {}), key
        assert rendered[key]["metadata"]["namespace"] == "loopcast"


def test_should_have_ack_keep_all_of_it_unless_it_is_to_be_destroyed(render: Render) -> None:
    rendered = ack_objects(render("aws-resources", ACK))
    policies = {item["metadata"]["annotations"]["services.k8s.aws/deletion-policy"] for item in rendered.values()}
    assert policies == {"retain"}
    given = {**ACK, "ackAnnotations": {"services.k8s.aws/deletion-policy": "delete"}}
    chosen = ack_objects(render("aws-resources", given)).values()
    assert {item["metadata"]["annotations"]["services.k8s.aws/deletion-policy"] for item in chosen} == {"delete"}


def filled(values: dict[str, str]) -> list[str]:
    """The manifests' files with their placeholders filled."""
    texts = [path.read_text() for path in sorted((ROOT / "manifests" / "aws").glob("*.yaml"))]
    for name, value in values.items():
        texts = [text.replace(f"${{{name}}}", value) for text in texts]
    return texts


def test_should_leave_no_placeholder_and_nothing_but_the_job_for_what_ack_can_not(render: Render) -> None:
    objects = render("aws-resources", ACK)
    assert "${" not in json.dumps(list(ack_objects(objects).values()))
    args = find(objects, "Job", "loopcast-aws-resources-1")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-1] == "--left-by-ack"


def test_should_fill_the_placeholders_as_the_applier_does_if_the_feed_is_another(render: Render, tmp_path: Any) -> None:
    path = tmp_path / "feed.yaml"
    path.write_text(FEED)
    expected = placeholders(load_feed(path), ACCOUNT, REGION, Cluster("x.y/id/Z", "streams", "one", "users/editor"))
    given = {"oidcProvider": "x.y/id/Z", "pipelinesAccount": "users/editor"}
    values = {**ACK, **given, "global": {**ACK["global"], "feed": FEED}}
    rendered = ack_objects(render("aws-resources", values, release="one", namespace="streams"))
    group = next(item for (kind, _), item in rendered.items() if kind == "FeatureGroup")
    assert group["spec"]["featureDefinitions"] == json.loads(expected["FEATURE_DEFINITIONS"])
    folder = tmp_path / "aws"
    folder.mkdir()
    for manifest in (CHARTS / "aws-resources" / "files" / "aws").glob("*.yaml"):
        (folder / manifest.name).write_text(manifest.read_text())
    declared = {document.name for document in read_manifests(folder, expected)}
    assert {name for _, name in rendered} <= declared


def test_should_need_the_account_for_ack(render: Render) -> None:
    with pytest.raises(HelmError, match=r"mode ack needs global\.aws\.account"):
        render("aws-resources", {"mode": "ack"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "terraform"}, "'applier', 'ack'"),
        ({"onUninstall": "maybe"}, "'keep', 'destroy'"),
        ({"oidcProvider": "https://oidc.eks"}, "does not match pattern"),
        ({"pipelinesAccount": "editor"}, "does not match pattern"),
        ({"deadlineSeconds": 0}, "minimum: got 0, want 1"),
    ],
)
def test_should_say_clearly_what_is_wrong(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as refused:
        render("aws-resources", values)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["wait.py", "check.py", "plan.py"])
def test_should_hold_programs_that_are_programs(name: str) -> None:
    compile((CHARTS / "aws-resources" / "files" / name).read_text(), name, "exec")
