"""AWS for clusters without it: local AWS, SageMaker, the source, each a StatefulSet of one pod."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.sagemaker.images import find_image
from local.sagemaker.kubernetes import client as kubernetes_client
from local.sagemaker.kubernetes.settings import read_settings
from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, HelmError, Object, env, find, kinds

PARTS = {"aws": "local-aws", "sagemaker": "sagemaker", "source": "source"}
PORTS = {"aws": 4566, "sagemaker": 4567, "source": 4568}
every_part = pytest.mark.parametrize("key", PARTS)
POOL = CHARTS / "local-aws" / "ci" / "pool-values.yaml"
RECORDING = {"source": {"mode": "recording", "recording": {"claim": "recordings", "file": "fees.parquet"}}}


def stateful_set(objects: list[Object], key: str) -> Object:
    return find(objects, "StatefulSet", f"loopcast-{PARTS[key]}")


def container(objects: list[Object], key: str) -> Object:
    return dict(stateful_set(objects, key)["spec"]["template"]["spec"]["containers"][0])


def config(objects: list[Object], name: str, folder: Path) -> Path:
    """A file of SageMaker's configuration, written to `folder`."""
    path = folder / name
    path.write_text(find(objects, "ConfigMap", "loopcast-sagemaker")["data"][name])
    return path


@every_part
@pytest.mark.parametrize("values", [{}, POOL], ids=["defaults", "pool"])
def test_should_give_the_program_only_flags_that_it_knows(render: Render, key: str, values: Any) -> None:
    _, flag, module, *arguments = container(render("local-aws", values), key)["args"]
    assert flag == "-m"
    parser: argparse.ArgumentParser = importlib.import_module(f"{module}.__main__")._parser()
    given = parser.parse_args(arguments)
    assert (given.host, given.port) == ("0.0.0.0", PORTS[key])


@every_part
def test_should_be_found_at_its_address(render: Render, key: str) -> None:
    objects = render("local-aws")
    service = find(objects, "Service", f"loopcast-{PARTS[key]}")
    assert [port["port"] for port in service["spec"]["ports"]] == [PORTS[key]]
    assert container(objects, key)["ports"] == [{"name": "http", "containerPort": PORTS[key]}]


@every_part
def test_should_let_no_two_pods_have_the_state(render: Render, key: str) -> None:
    spec = stateful_set(render("local-aws"), key)["spec"]
    assert spec["replicas"] == 1
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert {"name": "state", "mountPath": "/state"} in container(render("local-aws"), key)["volumeMounts"]


@every_part
def test_should_delete_its_volume_with_the_release_unless_it_is_to_be_kept(render: Render, key: str) -> None:
    def when_deleted(values: dict[str, Any]) -> str:
        spec = stateful_set(render("local-aws", values), key)["spec"]
        return str(spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"])

    assert when_deleted({}) == "Delete"
    assert when_deleted({key: {"persistence": {"keep": True}}}) == "Retain"


@every_part
def test_should_live_without_a_volume_if_told_so(render: Render, key: str) -> None:
    spec = stateful_set(render("local-aws", {key: {"persistence": {"enabled": False}}}), key)["spec"]
    assert "volumeClaimTemplates" not in spec
    assert [volume for volume in spec["template"]["spec"]["volumes"] if volume["name"] == "state"]


@every_part
def test_should_make_nothing_of_a_part_that_is_off(render: Render, key: str) -> None:
    more = {"sagemaker": {"enabled": False}} if key == "aws" else {}
    names = {name for _, name in kinds(render("local-aws", {key: {"enabled": False}, **more}))}
    assert f"loopcast-{PARTS[key]}" not in names


def test_should_use_its_own_aws_whatever_aws_the_release_uses(render: Render) -> None:
    objects = render("local-aws", {"global": {"aws": {"endpoint": "http://elsewhere"}}})
    variables = env(stateful_set(objects, "sagemaker")["spec"]["template"])
    assert variables["AWS_ENDPOINT_URL"] == "http://loopcast-local-aws:4566"
    assert variables["AWS_ENDPOINT_URL_SAGEMAKER"] == "http://loopcast-sagemaker:4567"
    assert variables["LOOPCAST_ACCOUNT"] == "000000000000"


def test_should_know_a_container_for_every_image_that_the_laptop_knows(render: Render, tmp_path: Path) -> None:
    path = config(render("local-aws"), "images.yaml", tmp_path)
    deepar = find_image(path, "522234722520.dkr.ecr.us-east-1.amazonaws.com/forecasting-deepar:1")
    assert deepar.container == "loopcast/forecaster:0.1.0"
    assert deepar.environment == {"LOOPCAST_ALGORITHM": "deepar"}
    assert "train:loss" in deepar.metrics
    boosted = find_image(path, "000000000000.dkr.ecr.us-east-1.amazonaws.com/loopcast-x/loopcast-boosted:1")
    assert boosted.environment == {"LOOPCAST_ALGORITHM": "boosted"}
    assert find_image(path, "x/loopcast-pipelines:1").container == "loopcast/pipelines:0.1.0"
    monitor = find_image(path, "x/sagemaker-model-monitor-analyzer")
    assert (monitor.container, monitor.own) == (
        "loopcast/local-aws:0.1.0",
        ("python", "-m", "local.sagemaker.analyzer"),
    )


def test_should_let_own_images_come_first(render: Render, tmp_path: Path) -> None:
    path = config(render("local-aws", POOL), "images.yaml", tmp_path)
    own = find_image(path, "x/my-model:3")
    assert (own.container, own.own, own.environment) == (
        "registry.example.org/my-model:1",
        ("python", "model.py"),
        {"A": "b"},
    )
    assert find_image(path, "x/loopcast-deepar:1").container == "registry.example.org/team/loopcast/forecaster:0.1.0"


def test_should_make_pods_as_told(render: Render, tmp_path: Path) -> None:
    settings = read_settings(config(render("local-aws", POOL), "pods.yaml", tmp_path))
    assert settings.carrier_image == "registry.example.org/team/loopcast/local-aws:0.1.0"
    assert settings.image_pull_secrets == ["registry-key"]
    assert settings.resources_of("ml.p3.2xlarge").limits == {"nvidia.com/gpu": "1"}
    assert settings.labels["app.kubernetes.io/instance"] == "loopcast"
    assert read_settings(config(render("local-aws"), "pods.yaml", tmp_path)).volume_size == "10Gi"


def test_should_restart_sagemaker_if_its_configuration_changes(render: Render) -> None:
    def annotations(**values: Any) -> dict[str, str]:
        template = stateful_set(render("local-aws", values), "sagemaker")["spec"]["template"]
        return dict(template["metadata"]["annotations"])

    assert annotations() == annotations()
    assert annotations(sagemaker={"pods": {"tmpSize": "1Gi"}}) != annotations()


def test_should_grant_sagemaker_no_more_than_what_it_asks_of_the_api(render: Render) -> None:
    rules = find(render("local-aws"), "Role", "loopcast-sagemaker")["rules"]
    granted = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}
    assert set(granted) == {*kubernetes_client._GROUPS, "pods/log"}
    assert granted["jobs"] == granted["deployments"] == {"get", "list", "create", "delete"}
    assert granted["services"] == {"get", "create"}
    assert granted["pods"] == granted["events"] == {"list"}
    (own,) = [rule for rule in rules if rule["resources"] == ["statefulsets"]]
    assert own["resourceNames"] == ["loopcast-sagemaker"]


def test_should_let_programs_speak_with_local_aws_and_each_other_only(render: Render) -> None:
    policy = find(render("local-aws"), "NetworkPolicy", "loopcast-sagemaker-programs")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"loopcast.io/server": "loopcast-sagemaker"}
    ports = [port["port"] for rule in policy["egress"] for port in rule.get("ports", [])]
    assert sorted(ports) == [53, 53, 4566, 4567]
    own = find(render("local-aws"), "NetworkPolicy", "loopcast-sagemaker")["spec"]
    assert {"port": 6443, "protocol": "TCP"} in [port for rule in own["egress"] for port in rule["ports"]]


def test_should_give_local_aws_the_time_for_its_last_snapshot(render: Render) -> None:
    assert stateful_set(render("local-aws"), "aws")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_should_replay_a_recording_if_told_so(render: Render) -> None:
    objects = render("local-aws", RECORDING)
    args = container(objects, "source")["args"]
    assert args[args.index("--recording") + 1] == "/recording/fees.parquet"
    volumes = stateful_set(objects, "source")["spec"]["template"]["spec"]["volumes"]
    (volume,) = [volume for volume in volumes if volume["name"] == "recording"]
    assert volume["persistentVolumeClaim"] == {"claimName": "recordings", "readOnly": True}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"aws": {"enabled": False}}, "sagemaker.enabled needs aws.enabled"),
        ({"source": {"mode": "recording"}}, "source.recording.file, and claim or configMap"),
        ({"source": {"regime": {"at": "2h"}}}, "source.regime needs both at and factors"),
        ({"source": {"mode": "live"}}, "value must be one of 'simulated', 'recording'"),
        ({"source": {"start": "yesterday"}}, "'yesterday' does not match pattern"),
        ({"aws": {"persistence": {"size": "much"}}}, "'much' does not match pattern"),
        ({"sagemaker": {"images": [{"pattern": "*"}]}}, "missing property 'image'"),
        ({"sagemaker": {"pods": {"kettle": 1}}}, "additional properties 'kettle' not allowed"),
        ({"aws": {"replicas": 2}}, "additional properties 'replicas' not allowed"),
    ],
)
def test_should_say_clearly_what_is_wrong(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as refused:
        render("local-aws", values)
    assert said in str(refused.value)


def test_should_test_only_what_is_there(render: Render) -> None:
    def tests(values: dict[str, Any]) -> set[str]:
        return {item["metadata"]["name"] for item in render("local-aws", values) if item["kind"] == "Pod"}

    assert tests({}) == {"loopcast-test-aws", "loopcast-test-sagemaker"}
    assert tests({"sagemaker": {"enabled": False}}) == {"loopcast-test-aws"}
    assert tests({"tests": {"sagemaker": False}}) == {"loopcast-test-aws"}
    assert tests({"tests": {"enabled": False}}) == set()


def test_should_draw_its_images_from_the_laptops_list() -> None:
    """The chart has no list of its own that could fall behind."""
    laptop = CHARTS.parent / "local" / "sagemaker" / "images.yaml"
    assert (CHARTS / "local-aws" / "files" / "images.yaml").resolve() == laptop.resolve()
    modules = [entry.get("module", "") for entry in yaml.safe_load(laptop.read_text())["images"]]
    assert all(module.startswith(("forecasters.", "local.sagemaker.")) for module in modules if module)
