"""What every chart keeps to, with each of its ci/*-values.yaml and with its defaults."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import schemas
from tests.charts.conftest import Render
from tests.charts.policies import POLICIES, Policy, every_pod_has_a_network_policy
from tests.charts.rendering import CHARTS, Helm, HelmError, Object, Values, chart_names, ci_values, hook, kinds, pods

CASES = [(chart, "") for chart in chart_names()] + ci_values()
IDS = [f"{chart}-{name.removesuffix('-values.yaml') or 'defaults'}" for chart, name in CASES]
every_case = pytest.mark.parametrize(("chart", "file"), CASES, ids=IDS)
every_chart = pytest.mark.parametrize("chart", chart_names())


def given(chart: str, file: str) -> Values:
    return CHARTS / chart / "ci" / file if file else {}


@every_case
def test_should_pass_helms_own_checks(helm: Helm, chart: str, file: str) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.lint(chart, given(chart, file))


@every_case
def test_should_be_what_the_kubernetes_api_takes(render: Render, chart: str, file: str) -> None:
    assert list(schemas.faults(render(chart, given(chart, file)))) == []


@every_case
def test_should_be_what_other_projects_definitions_take(render: Render, chart: str, file: str) -> None:
    if shutil.which("go") is None:
        pytest.skip("Go is not on PATH: other projects' definitions can't be fetched")
    assert list(schemas.foreign_faults(render(chart, given(chart, file)))) == []


@every_case
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_should_keep_to_the_policies(render: Render, policy: Policy, chart: str, file: str) -> None:
    if policy is every_pod_has_a_network_policy and has_none(given(chart, file)):
        policy = nothing_has_a_network_policy
    assert list(policy(render(chart, given(chart, file)))) == []


def has_none(values: Values) -> bool:
    """Whether the values turn network policies off."""
    document = yaml.safe_load(values.read_text()) if isinstance(values, Path) else values
    return not document.get("global", {}).get("networkPolicy", {}).get("enabled", True)


def nothing_has_a_network_policy(objects: Sequence[Object]) -> Iterator[str]:
    return (item["metadata"]["name"] for item in objects if item["kind"] == "NetworkPolicy")


@every_case
def test_should_make_no_object_twice(render: Render, chart: str, file: str) -> None:
    """Nor may a hook's be another hook's; but one may come back after the release, as its role needs its name."""
    objects = render(chart, given(chart, file))
    for some in ([item for item in objects if not hook(item)], [item for item in objects if hook(item)]):
        assert len(kinds(some)) == len(some)


@every_case
def test_should_render_the_same_each_time(render: Render, chart: str, file: str) -> None:
    assert render(chart, given(chart, file), fresh=True) == render(chart, given(chart, file))


@every_chart
def test_should_refuse_values_that_it_does_not_know(render: Render, chart: str) -> None:
    with pytest.raises(HelmError, match="additional properties 'kettle' not allowed"):
        render(chart, {"kettle": True})


@every_chart
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"aws": {"account": 123456789012}}, "/global/aws/account': got number, want string"),
        ({"aws": {"account": "12"}}, "'12' does not match pattern"),
        ({"aws": {"region": "Ireland"}}, "'Ireland' does not match pattern"),
        ({"speed": 0}, "exclusiveMinimum: got 0, want 0"),
        ({"image": {"tag": "not a tag"}}, "'not a tag' does not match pattern"),
        ({"image": {"pullPolicy": "Sometimes"}}, "value must be one of 'IfNotPresent', 'Always', 'Never'"),
        ({"sourceUrl": "ftp://x"}, "'ftp://x' does not match pattern"),
    ],
)
def test_should_say_clearly_what_is_wrong_with_shared_values(
    render: Render, chart: str, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(HelmError) as refused:
        render(chart, {"global": values})
    assert said in str(refused.value)


@every_chart
def test_should_refuse_a_feed_that_is_none(render: Render, chart: str) -> None:
    for text in ("no: feed", "name: Fees", "name: of-more-than-the-thirty-two-characters", "feeds/x.yaml", "[a, b]"):
        with pytest.raises(HelmError, match="use --set-file global\\.feed=FILE"):
            render(chart, {"global": {"feed": text}})


PLACE = {
    "nodeSelector": {"pool": "loopcast"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "affinity": {"podAffinity": {}},
    "priorityClassName": "high",
}


def everywhere(values: dict[str, Any]) -> dict[str, Any]:
    """Values that give each part of a chart the same place."""
    below = {key: more for key, value in values.items() if isinstance(value, dict) and (more := everywhere(value))}
    return {**below, **{key: value for key, value in PLACE.items() if key in values}}


@pytest.mark.parametrize("chart", [chart for chart in chart_names() if chart != "loopcast"])
def test_should_run_every_pod_where_its_part_may_run_those_of_hooks_and_tests_too(render: Render, chart: str) -> None:
    values = everywhere(yaml.safe_load((CHARTS / chart / "values.yaml").read_text()))
    if chart == "aws-resources":
        values["onUninstall"] = "destroy"  # by a Job, which there is not otherwise
    objects = render(chart, values)
    elsewhere = [item["metadata"]["name"] for item, pod in pods(objects) if not PLACE.items() <= pod["spec"].items()]
    assert elsewhere == []


@every_chart
def test_should_open_metrics_to_nobody_if_the_list_of_readers_is_empty(render: Render, chart: str) -> None:
    def open_to_all(readers: list[Any]) -> list[str]:
        objects = render(chart, {"global": {"networkPolicy": {"metricsFrom": readers}}})
        policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
        assert policies
        return [
            policy["metadata"]["name"]
            for policy in policies
            for rule in policy["spec"]["ingress"]
            if any("podSelector" not in peer for peer in rule["from"])
        ]

    assert open_to_all([]) == []
    if chart != "aws-resources":  # which serves no metrics
        assert open_to_all([{"namespaceSelector": {}}])


@every_chart
def test_should_name_nothing_that_is_too_long(render: Render, chart: str) -> None:
    with pytest.raises(HelmError, match="the release's name is too long"):
        render(chart, release="r" * 53)


@every_chart
def test_should_live_beside_another_release(render: Render, chart: str) -> None:
    mine, theirs = (
        {
            (item["kind"], item["metadata"]["name"])
            for item in render(chart, release=release)
            if "loopcast.io" not in item["apiVersion"] and item["kind"] != "CustomResourceDefinition"
        }
        for release in ("one", "other")
    )
    assert not mine & theirs


@every_chart
def test_should_have_what_a_chart_has(chart: str) -> None:
    folder = CHARTS / chart
    for name in ("values.yaml", "values.schema.json", "templates/NOTES.txt", "ci"):
        assert (folder / name).exists(), name
    meta = yaml.safe_load((folder / "Chart.yaml").read_text())
    library = yaml.safe_load((CHARTS / "common" / "Chart.yaml").read_text())
    assert (meta["version"], meta["appVersion"]) == (library["version"], library["appVersion"])
    assert meta["kubeVersion"] == library["kubeVersion"]


@every_chart
def test_should_share_the_values_that_all_charts_share(chart: str) -> None:
    ours, theirs = (yaml.safe_load((CHARTS / name / "values.yaml").read_text())["global"] for name in (chart, "common"))
    assert ours == theirs


@every_chart
def test_should_say_of_every_value_what_it_is_for(chart: str) -> None:
    lines = ["", *(CHARTS / chart / "values.yaml").read_text().splitlines()]
    keys = [number for number, line in enumerate(lines) if line[:1].isalpha()]
    bare = [lines[key] for key in keys if "#" not in lines[key] and not lines[key - 1].startswith("#")]
    assert bare == []
