"""The Flink job's chart: a cluster of its own, or a FlinkDeployment of the Flink Kubernetes operator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flink import cluster
from flink.checkpoints import job_id
from flink.high_availability import names
from flink.home import Setup, distribution, module_options
from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, ROOT, HelmError, Object, containers, env, find, kinds

JOB = job_id("bitcoin-fees")
PARTS = ("flink-jobmanager", "flink-taskmanager")
OPERATOR = {"mode": "operator", "global": {"aws": {"account": "123456789012"}}}
API = "org.apache.flink:flink-kubernetes-operator-api:1.10.0"
OPERATOR_VALUES = sorted((CHARTS / "flink" / "ci").glob("operator*-values.yaml"))


def deployment(objects: list[Object], part: str) -> Object:
    return find(objects, "Deployment", f"loopcast-{part}")


def flags(objects: list[Object], part: str) -> list[str]:
    return [str(flag) for flag in containers(deployment(objects, part)["spec"]["template"])[0]["args"]]


def rules(objects: list[Object], part: str) -> list[dict[str, Any]]:
    return list(find(objects, "Role", f"loopcast-{part}")["rules"])


@pytest.mark.parametrize("part", PARTS)
def test_should_never_have_two_generations_of_a_part(render: Render, part: str) -> None:
    assert deployment(render("flink"), part)["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("part", PARTS)
def test_should_give_flags_that_the_program_takes(render: Render, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    given = flags(render("flink", {"job": {"checkpoints": "s3://b/c/", "settings": {"a.b": "c=d"}}}), part)
    assert given[:3] == ["python", "-m", "flink.cluster"]
    monkeypatch.setattr(sys, "argv", given[2:])
    arguments = cluster._arguments()
    assert (arguments.cluster_id, arguments.max_shards, arguments.checkpoints) == ("loopcast-flink", 1, "s3://b/c/")
    assert arguments.setting == [("a.b", "c=d")]


def test_should_count_the_slots_of_all_task_managers(render: Render) -> None:
    values = {"job": {"maxShards": 4}, "taskManager": {"replicas": 2, "slots": 2}}
    objects = render("flink", values)
    assert deployment(objects, "flink-taskmanager")["spec"]["replicas"] == 2
    assert {"--task-managers=2", "--slots=2", "--max-shards=4"} <= set(flags(objects, "flink-jobmanager"))


def test_should_take_the_shards_from_the_feed_unless_they_are_given(render: Render) -> None:
    feed = yaml.safe_load((ROOT / "feeds" / "bitcoin-fees.yaml").read_text())
    feed["stream"]["max_shards"] = 3
    given = {"global": {"feed": yaml.safe_dump(feed)}, "taskManager": {"slots": 3}}
    assert "--max-shards=3" in flags(render("flink", given), "flink-taskmanager")


def test_should_refuse_fewer_slots_than_shards(render: Render) -> None:
    said = "taskManager.replicas times taskManager.slots is 2, but the stream may have 3 shards and each needs a slot"
    with pytest.raises(HelmError, match=said):
        render("flink", {"job": {"maxShards": 3}, "taskManager": {"slots": 2}})


def test_should_let_the_job_manager_write_flinks_config_maps_and_no_others(render: Render) -> None:
    given = rules(render("flink"), "flink-jobmanager")
    assert all(rule["resources"] == ["configmaps"] for rule in given)
    unnamed = [rule["verbs"] for rule in given if "resourceNames" not in rule]
    assert unnamed == [["create"]], "creating can't be limited to names"
    written = next(rule for rule in given if "update" in rule["verbs"])
    assert written["resourceNames"] == list(names("loopcast-flink", JOB))


def test_should_let_the_task_managers_read_alone(render: Render) -> None:
    (rule,) = rules(render("flink"), "flink-taskmanager")
    assert rule["verbs"] == ["get", "list", "watch"]
    assert rule["resourceNames"] == list(names("loopcast-flink", JOB))


def test_should_own_what_flink_writes_so_that_it_goes_with_the_release(render: Render) -> None:
    objects = render("flink")
    assert find(objects, "ConfigMap", "loopcast-flink-ha")["data"]["owns"].split() == list(names("loopcast-flink", JOB))
    assert "--owner=loopcast-flink-ha" in flags(objects, "flink-jobmanager")


def test_should_give_both_parts_the_role_of_flink(render: Render) -> None:
    objects = render("flink", {"global": {"aws": {"account": "123456789012", "irsa": True}}})
    roles = {
        find(objects, "ServiceAccount", f"loopcast-{part}")["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        for part in PARTS
    }
    assert roles == {"arn:aws:iam::123456789012:role/loopcast-bitcoin-fees-flink"}


def test_should_stay_below_a_gibibyte_and_a_half(render: Render) -> None:
    limits = [containers(deployment(render("flink"), part)["spec"]["template"])[0]["resources"] for part in PARTS]
    assert sum(int(limit["limits"]["memory"].removesuffix("Mi")) for limit in limits) < 1536


@pytest.mark.parametrize("part", PARTS)
def test_should_give_the_container_more_than_the_jvm(render: Render, part: str) -> None:
    objects = render("flink")
    (memory,) = [int(flag.partition("=")[2]) for flag in flags(objects, part) if flag.startswith("--memory=")]
    limit = containers(deployment(objects, part)["spec"]["template"])[0]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) > memory


def test_should_wait_as_long_as_the_program_before_it_is_started_again(render: Render) -> None:
    objects = render("flink", {"job": {"waitSeconds": 1200}})
    probe = containers(deployment(objects, "flink-jobmanager")["spec"]["template"])[0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 1200
    assert "--wait=1200" in flags(objects, "flink-jobmanager")


def test_should_have_a_disruption_budget_if_there_are_several_task_managers(render: Render) -> None:
    assert not [item for item in render("flink") if item["kind"] == "PodDisruptionBudget"]
    objects = render("flink", {"taskManager": {"replicas": 2}})
    assert find(objects, "PodDisruptionBudget", "loopcast-flink-taskmanager")["spec"]["maxUnavailable"] == 1


def test_should_open_between_the_parts_what_they_listen_on(render: Render) -> None:
    objects = render("flink")
    opened = {
        part: {
            port["port"]
            for rule in find(objects, "NetworkPolicy", f"loopcast-{part}")["spec"]["ingress"]
            for port in rule["ports"]
        }
        for part in PARTS
    }
    assert opened["flink-jobmanager"] == {8081, 9249, cluster.RPC_PORT, cluster.BLOB_PORT}
    assert opened["flink-taskmanager"] == {9249, cluster.TASK_RPC_PORT, cluster.TASK_DATA_PORT}


def test_should_test_the_flow_unless_told_that_none_comes(render: Render) -> None:
    def command(values: dict[str, Any]) -> list[str]:
        return list(containers(find(render("flink", values), "Pod", "loopcast-flink-test"))[0]["args"])

    assert "--flow" in command({})
    assert "--flow" not in command({"tests": {"flow": False}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "session"}, "value must be one of 'standalone', 'operator'"),
        ({"taskManager": {"slots": 0}}, "minimum: got 0, want 1"),
        ({"job": {"checkpoints": "bucket/x"}}, "'bucket/x' does not match pattern"),
        ({"operator": {"upgradeMode": "stateless"}}, "value must be one of 'last-state', 'savepoint'"),
        ({"mode": "operator"}, "mode operator needs global.aws.account"),
        ({**OPERATOR, "taskManager": {"replicas": 3}}, "taskManager.replicas is of mode standalone"),
        (
            {**OPERATOR, "taskManager": {"podDisruptionBudget": {"maxUnavailable": "50%"}}},
            "in mode operator taskManager.podDisruptionBudget takes numbers alone",
        ),
    ],
)
def test_should_say_clearly_what_is_wrong(render: Render, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as refused:
        render("flink", values)
    assert said in str(refused.value)


def flink_deployment(objects: list[Object]) -> Object:
    return find(objects, "FlinkDeployment", "loopcast-flink")


def test_should_leave_the_pods_to_the_operator(render: Render) -> None:
    objects = render("flink", OPERATOR)
    assert not [item for item in objects if item["kind"] in ("Deployment", "Service", "Pod")]
    spec = flink_deployment(objects)["spec"]
    assert (spec["flinkVersion"], spec["job"]["upgradeMode"], spec["job"]["parallelism"]) == ("v1_20", "last-state", 1)


def test_should_give_the_operator_the_settings_of_the_cluster_program(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["flink.cluster", "taskmanager"])
    checkpoints = "s3://loopcast-bitcoin-fees-123456789012/checkpoints/"
    setup = Setup(Path("/opt/venv/bin/python"), checkpoints, 10, JOB, 1, 8081, 9249)
    ours = dict(cluster.settings(cluster._arguments(), setup))
    theirs = dict(flink_deployment(render("flink", OPERATOR))["spec"]["flinkConfiguration"])
    set_by_the_operator = ("$internal", "kubernetes.", "rest.", "taskmanager.host", "taskmanager.bind")
    only_ours = {"io.tmp.dirs", "taskmanager.registration.timeout", *cluster._addresses("")}
    ours = {
        key: value
        for key, value in ours.items()
        if key not in only_ours and not key.startswith(set_by_the_operator) and not key.endswith("process.size")
    }
    assert {key: theirs[key] for key in ours} == ours


def test_should_open_the_modules_that_flink_needs_open(render: Render) -> None:
    python = ROOT / ".venv" / "flink" / "bin" / "python"
    if not python.exists():
        pytest.skip("there is no PyFlink: run make setup")
    options = flink_deployment(render("flink", OPERATOR))["spec"]["flinkConfiguration"]["env.java.opts.all"]
    assert options.startswith(module_options(distribution(python)))


def test_should_give_the_job_in_both_modes_the_same_arguments(render: Render) -> None:
    arguments = flink_deployment(render("flink", OPERATOR))["spec"]["job"]["args"]
    streams = [word for word in arguments if word.startswith("loopcast-bitcoin-fees-")]
    assert streams == [f"loopcast-bitcoin-fees-{name}" for name in ("transactions", "minutes", "late")]
    assert arguments[arguments.index("--max-shards") + 1] == "1"


def test_should_add_a_process_variables_to_those_that_both_have(render: Render) -> None:
    """The Flink operator puts arrays of the two templates over each other by position, unless it is told otherwise."""
    more = [{"name": "TZ", "value": "UTC"}]
    spec = flink_deployment(render("flink", {**OPERATOR, "jobManager": {"extraEnv": more}}))["spec"]
    for template in (spec["podTemplate"], spec["jobManager"]["podTemplate"]):
        assert template["spec"]["containers"][0]["name"] == "flink-main-container"
    assert env(spec["podTemplate"])["LOOPCAST_FEED"] == "/etc/loopcast/feed.yaml"
    assert env(spec["jobManager"]["podTemplate"]) == {"TZ": "UTC"}
    assert spec["flinkConfiguration"]["kubernetes.operator.pod-template.merge-arrays-by-name"] == "true"


def test_should_restart_the_operators_job_manager_if_it_no_longer_answers(render: Render) -> None:
    spec = flink_deployment(render("flink", OPERATOR))["spec"]
    (manager,) = spec["jobManager"]["podTemplate"]["spec"]["containers"]
    probes = [manager["livenessProbe"], manager["readinessProbe"]]
    assert [probe["httpGet"] for probe in probes] == [{"path": "/config", "port": 8081}] * 2
    (tasks,) = spec["taskManager"]["podTemplate"]["spec"]["containers"]
    assert tasks == {"name": "flink-main-container"}, "the JobManager replaces a TaskManager itself"


def test_should_say_how_many_of_the_operators_task_managers_must_stay(render: Render) -> None:
    """Not how many may be missing: they belong to the JobManager's Deployment, whose one replica they are taken for."""

    def budgets(**task_manager: Any) -> list[Any]:
        objects = render("flink", {**OPERATOR, "job": {"maxShards": 5}, "taskManager": {"slots": 2, **task_manager}})
        return [item["spec"] for item in objects if item["kind"] == "PodDisruptionBudget"]

    (budget,) = budgets()
    assert budget["minAvailable"] == 2, "of three, which have a slot for each of five shards"
    assert "maxUnavailable" not in budget
    objects = render("flink", OPERATOR)
    labels = flink_deployment(objects)["spec"]["taskManager"]["podTemplate"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert budgets(podDisruptionBudget={"maxUnavailable": 2})[0]["minAvailable"] == 1
    assert budgets(podDisruptionBudget={"minAvailable": 3, "maxUnavailable": None})[0]["minAvailable"] == 3
    assert budgets(podDisruptionBudget={"enabled": False}) == budgets(slots=5) == []


def test_should_take_a_savepoint_before_an_upgrade_if_asked(render: Render) -> None:
    objects = render("flink", {**OPERATOR, "operator": {"upgradeMode": "savepoint"}})
    spec = flink_deployment(objects)["spec"]
    assert spec["job"]["upgradeMode"] == "savepoint"
    assert spec["flinkConfiguration"]["execution.checkpointing.savepoint-dir"].startswith("s3://")


def test_should_let_the_operators_autoscaler_recommend_if_asked_and_never_scale(render: Render) -> None:
    objects = render("flink", {**OPERATOR, "operator": {"autoscaler": {"enabled": True}}})
    given = flink_deployment(objects)["spec"]["flinkConfiguration"]
    assert (given["job.autoscaler.enabled"], given["job.autoscaler.scaling.enabled"]) == ("true", "false")
    plain = flink_deployment(render("flink", OPERATOR))["spec"]["flinkConfiguration"]
    assert not [key for key in plain if "autoscaler" in key]


@pytest.fixture(scope="session")
def definition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's definition of a FlinkDeployment, from its jar."""
    if shutil.which("mvn") is None:
        pytest.skip("there is no mvn")
    folder = tmp_path_factory.mktemp("operator")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    flags = [f"-Dartifact={API}", f"-DoutputDirectory={folder}"]
    subprocess.run(["mvn", "-q", "-B", "-C", goal, *flags], check=True, timeout=280)
    (jar,) = folder.glob("*.jar")
    shutil.unpack_archive(jar, folder, "zip")
    return folder / "META-INF" / "fabric8" / "flinkdeployments.flink.apache.org-v1.yml"


@pytest.mark.parametrize("values", OPERATOR_VALUES, ids=lambda path: path.stem)
def test_should_be_what_the_operators_definition_takes(render: Render, definition: Path, values: Path) -> None:
    (version,) = yaml.load(definition.read_text(), Loader=yaml.CSafeLoader)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    spec = flink_deployment(render("flink", values))["spec"]
    assert list(_unknown(schema["properties"]["spec"], spec, "spec")) == []
    jsonschema.Draft202012Validator(_relaxed(schema)).validate({"spec": spec})


def _unknown(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """Fields that the API server would drop."""
    if isinstance(value, list):
        for item in value:
            yield from _unknown(schema.get("items", {}), item, path)
    elif isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key not in schema["properties"]:
                yield f"{path}.{key}"
            else:
                yield from _unknown(schema["properties"][key], item, f"{path}.{key}")


def _relaxed(schema: Any) -> Any:
    """Kubernetes' way to say "a number or a text" in plain JSON Schema."""
    if isinstance(schema, list):
        return [_relaxed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    return {key: _relaxed(part) for key, part in schema.items()}


def test_should_keep_its_feed_and_policies_and_no_other_object_apart_from_its_mode(render: Render) -> None:
    both = kinds(render("flink")) & kinds(render("flink", OPERATOR))
    assert both == {("ConfigMap", "loopcast-flink-feed"), *(("NetworkPolicy", f"loopcast-{part}") for part in PARTS)}


@pytest.mark.parametrize("part", PARTS)
def test_should_close_the_operators_pods_but_to_each_other_the_operator_and_metrics(render: Render, part: str) -> None:
    objects = render("flink", OPERATOR)
    process = "jobManager" if part == "flink-jobmanager" else "taskManager"
    labels = flink_deployment(objects)["spec"][process]["podTemplate"]["metadata"]["labels"]
    spec = find(objects, "NetworkPolicy", f"loopcast-{part}")["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    opened = {port["port"] for rule in spec["ingress"] for port in rule.get("ports", [])}
    assert opened == ({8081, 9249} if process == "jobManager" else {9249})
    for way, peers in (("ingress", "from"), ("egress", "to")):
        (every_port,) = [rule for rule in spec[way] if "ports" not in rule]
        (flink,) = every_port[peers]
        assert flink["podSelector"]["matchLabels"].items() <= labels.items()
        assert labels["app.kubernetes.io/component"] in flink["podSelector"]["matchExpressions"][0]["values"]


def test_should_name_the_streams_of_its_feed_alone(render: Render) -> None:
    variables = env(deployment(render("flink"), "flink-jobmanager")["spec"]["template"])
    assert variables["LOOPCAST_FEED"] == "/etc/loopcast/feed.yaml"
