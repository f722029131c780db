"""The umbrella: everything of a release, and nothing twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from operators.policies import parse_policy
from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, ROOT, HelmError, Object, env, find, kinds, pods

PARTS = ("aws-resources", "ingestion", "flink", "operator")
LOCAL = CHARTS / "loopcast" / "ci" / "local-values.yaml"


def components(objects: list[Object]) -> set[str]:
    return {
        item["metadata"]["labels"]["app.kubernetes.io/component"]
        for item in objects
        if item["kind"] in ("Deployment", "StatefulSet")
    }


def policies(objects: list[Object]) -> dict[str, Object]:
    return {item["kind"]: item for item in objects if item["apiVersion"].startswith("loopcast.io/")}


def test_should_run_every_part(render: Render) -> None:
    ingestion = {"poller", "deduplicator", "feature-writer", "repairer"}
    assert components(render("loopcast")) == {*ingestion, "flink-jobmanager", "flink-taskmanager", "operator"}


def test_should_bring_its_own_aws_exactly_if_told(render: Render) -> None:
    assert components(render("loopcast", LOCAL)) - components(render("loopcast")) == {
        "local-aws",
        "sagemaker",
        "source",
    }


@pytest.mark.parametrize("part", PARTS)
def test_should_leave_out_what_is_off(render: Render, part: str) -> None:
    objects = render("loopcast", {part: {"enabled": False}})
    charts = {item["metadata"].get("labels", {}).get("helm.sh/chart", "") for item in objects}
    assert f"{part}-0.1.0" not in charts
    assert len(charts) > 2


def test_should_hand_the_shared_values_to_every_pod(render: Render) -> None:
    given = {"image": {"registry": "r.example", "tag": "7"}, "speed": 2, "podAnnotations": {"a/b": "c"}}
    for item, pod in pods(render("loopcast", {"global": given})):
        for container in range(len(pod["spec"]["containers"])):
            assert pod["spec"]["containers"][container]["image"].startswith("r.example/loopcast/")
            assert pod["spec"]["containers"][container]["image"].endswith(":7")
            assert env(pod, container).get("LOOPCAST_SPEED", "2") == "2", item["metadata"]["name"]
        if item["kind"] == "Deployment":
            assert pod["metadata"]["annotations"]["a/b"] == "c"


def test_should_have_the_policies_of_the_default_feed(render: Render) -> None:
    declared = yaml.safe_load_all((ROOT / "manifests" / "policies" / "bitcoin-fees.yaml").read_text())
    found = policies(render("loopcast"))
    assert {item["kind"]: item["spec"] for item in declared} == {kind: item["spec"] for kind, item in found.items()}


def test_should_follow_the_feed_of_the_release(render: Render) -> None:
    text = (ROOT / "feeds" / "bitcoin-fees.yaml").read_text().replace("name: bitcoin-fees", "name: ferry-tickets")
    objects = render("loopcast", {"global": {"feed": text}})
    for item in policies(objects).values():
        assert item["metadata"]["name"] == item["spec"]["feed"] == "ferry-tickets"
    alarms = policies(objects)["RetrainingPolicy"]["spec"]["triggers"]["alarms"]
    assert alarms[0] == "loopcast-ferry-tickets-staging-degraded"
    feeds = [
        item["data"]["feed.yaml"] for item in objects if item["kind"] == "ConfigMap" and "feed.yaml" in item["data"]
    ]
    assert len(feeds) == len(PARTS)
    assert all(yaml.safe_load(feed)["name"] == "ferry-tickets" for feed in feeds)


def test_should_merge_what_is_given_into_the_policies(render: Render) -> None:
    values = {
        "policies": {
            "retraining": {"spec": {"cooldown": "12h"}},
            "release": {"spec": {"production": {"approvedVersion": 3}}},
        }
    }
    found = policies(render("loopcast", values))
    assert found["RetrainingPolicy"]["spec"]["cooldown"] == "12h"
    assert found["RetrainingPolicy"]["spec"]["triggers"]["changedCode"]
    assert found["ReleasePolicy"]["spec"]["production"] == {"bakeTime": "12h", "approvedVersion": 3}
    for item in found.values():
        parse_policy({**item, "metadata": {**item["metadata"], "uid": "1", "generation": 1}})


def field_names(definition: dict[str, Any]) -> dict[str, Any]:
    """A schema that knows the names of a definition's fields and no others."""
    if "properties" in definition:
        known = {name: field_names(field) for name, field in definition["properties"].items()}
        return {"properties": known, "additionalProperties": False}
    below = field_names(definition["items"]) if "items" in definition else {}
    return {"items": below} if below else {}


@pytest.mark.parametrize(("key", "kind"), [("retraining", "RetrainingPolicy"), ("release", "ReleasePolicy")])
def test_should_know_the_fields_of_a_policy_that_the_api_server_knows(key: str, kind: str) -> None:
    """The umbrella's schema has a copy, as helm reads no other file: what is new in the definitions goes there too."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "operator" / "crds.yaml").read_text())
    (version,) = next(item for item in documents if item["spec"]["names"]["kind"] == kind)["spec"]["versions"]
    schema = json.loads((CHARTS / "loopcast" / "values.schema.json").read_text())
    ours = schema["properties"]["policies"]["properties"][key]["properties"]["spec"]
    theirs = field_names(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    assert {name: ours[name] for name in theirs} == theirs


def test_should_refuse_a_field_that_the_api_server_would_drop(render: Render) -> None:
    for spec, said in (
        ({"cooldwn": "1h"}, "at '/policies/retraining/spec': additional properties 'cooldwn' not allowed"),
        ({"triggers": {"schedule": {"evry": "7d"}}}, "additional properties 'evry' not allowed"),
        ({"quietHours": [{"begin": "01:00"}]}, "additional properties 'begin' not allowed"),
    ):
        with pytest.raises(HelmError, match=said):
            render("loopcast", {"policies": {"retraining": {"spec": spec}}})


def test_should_take_a_trigger_away_if_it_is_given_as_null(render: Render) -> None:
    values = {"policies": {"retraining": {"spec": {"triggers": {"schedule": None}}}}}
    assert policies(render("loopcast", values))["RetrainingPolicy"]["spec"]["triggers"]["schedule"] is None


def test_should_have_no_policies_if_nobody_follows_them(render: Render) -> None:
    assert not policies(render("loopcast", {"operator": {"enabled": False}}))
    one = {"policies": {"release": {"enabled": False}}}
    assert set(policies(render("loopcast", one))) == {"RetrainingPolicy"}


def test_should_poll_the_releases_own_source_without_aws(render: Render) -> None:
    objects = render("loopcast", LOCAL, release="fees")
    pod = find(objects, "Deployment", "fees-poller")["spec"]["template"]
    assert env(pod)["LOOPCAST_SOURCE_URL"].startswith("http://fees-source:4568/unconfirmed-transactions")
    assert env(pod)["AWS_ENDPOINT_URL"] == "http://fees-local-aws:4566"


@pytest.mark.parametrize(
    ("off", "part", "endpoint"),
    [(("aws", "sagemaker"), "aws", "endpoint"), (("sagemaker",), "sagemaker", "sagemakerEndpoint")],
    ids=["aws", "sagemaker"],
)
def test_should_refuse_to_wait_for_local_aws_if_nobody_makes_it(
    render: Render, off: tuple[str, ...], part: str, endpoint: str
) -> None:
    values = {"global": {"aws": {"local": True}}, "local-aws": {name: {"enabled": False} for name in off}}
    with pytest.raises(HelmError, match=f"without local-aws.{part}.enabled needs global.aws.{endpoint}"):
        render("loopcast", values)
    elsewhere = {"endpoint": "http://elsewhere:4566", "sagemakerEndpoint": "http://elsewhere:4567"}
    assert ("StatefulSet", "loopcast-source") in kinds(render("loopcast", [values, {"global": {"aws": elsewhere}}]))


def test_should_not_mistake_another_chart_for_its_own(render: Render) -> None:
    with pytest.raises(HelmError, match="additional properties 'ingestions' not allowed"):
        render("loopcast", {"ingestions": {"enabled": False}})


def test_should_refuse_a_shared_value_that_no_chart_knows(render: Render) -> None:
    with pytest.raises(HelmError, match="at '/global': additional properties 'imge' not allowed"):
        render("loopcast", {"global": {"imge": {"tag": "7"}}})


def test_should_know_the_shared_values_that_all_charts_know() -> None:
    ours, theirs = (
        json.loads((CHARTS / name / "values.schema.json").read_text())["properties"]["global"]["properties"]
        for name in ("loopcast", "common")
    )
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"ingestion": {"poller": {"replicas": "two"}}},
            "ingestion:\n- at '/poller/replicas': got string, want integer",
        ),
        ({"policies": {"retraining": {"spec": []}}}, "got array, want object"),
    ],
)
def test_should_say_in_which_chart_a_value_is_wrong(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as refused:
        render("loopcast", values)
    assert said in str(refused.value)


def test_should_install_without_any_values(render: Render) -> None:
    assert ("Deployment", "loopcast-poller") in kinds(render("loopcast"))
