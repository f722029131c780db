"""What stands for a program in a cluster: objects that a restricted namespace takes, named and labelled for people."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.kubernetes import manifests
from local.sagemaker.kubernetes.manifests import Run
from local.sagemaker.kubernetes.settings import BadSettings, PodSettings, read_settings

SETTINGS = PodSettings(
    carrier_image="registry/loopcast/local-aws:1",
    image_pull_secrets=["pull"],
    instances={"ml.m5.large": {"requests": {"cpu": "2", "memory": "8Gi"}}},
    node_selector={"pool": "jobs"},
    labels={"app.kubernetes.io/instance": "r"},
)
NAMES = st.text("aZ0-", min_size=1, max_size=63).map(lambda text: text.strip("-") or "a")


def run(folder: str = "training-job/fees-1", **changes: Any) -> Run:
    given: dict[str, Any] = {
        "folder": folder,
        "run": "0123456789",
        "server": "sagemaker",
        "image": "registry/loopcast/forecaster:1",
        "environment": {"SM_HPS": '{"a": "$(HOME)"}'},
        "work_url": f"http://sagemaker:4567/programs/{folder}",
        "token": "secret",
        "arguments": ("train",),
        "instance": "ml.m5.large",
    }
    return Run(**given | changes)


def pods(*runs: Run) -> list[dict[str, Any]]:
    """The pod specs of all kinds of objects."""
    made = [make(one, SETTINGS, "ns") for one in runs for make in (manifests.job, manifests.deployment)]
    return [item["spec"]["template"]["spec"] for item in made]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["initContainers"], *pod["containers"]]


def test_every_pod_meets_restricted_pod_security() -> None:
    for pod in pods(run(), run("endpoint/fees/a-12345678")):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert not pod["enableServiceLinks"]
        for container in containers(pod):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_every_container_has_bounds_and_every_volume_a_size() -> None:
    for pod in pods(run()):
        assert all(container["resources"]["requests"] for container in containers(pod))
        assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])


def test_a_program_gets_the_resources_of_its_instance_type_or_the_default() -> None:
    def asked(instance: str) -> dict[str, str]:
        pod, _ = pods(run(instance=instance))
        requests: dict[str, str] = pod["containers"][0]["resources"]["requests"]
        return requests

    assert asked("ml.m5.large") == {"cpu": "2", "memory": "8Gi"}
    assert asked("ml.c5.xlarge") == SETTINGS.resources.requests


def test_only_a_program_that_failed_by_itself_fails_its_job() -> None:
    spec = manifests.job(run(), SETTINGS, "ns")["spec"]
    fail, ignore = spec["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["containerName"]) == ("FailJob", "carry")
    assert (ignore["action"], ignore["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert spec["podReplacementPolicy"] == "Failed"


def test_a_program_sees_neither_the_token_nor_the_carriers_files() -> None:
    for pod in pods(run()):
        (program,) = [container for container in pod["containers"] if container["name"] == "program"]
        assert "secret" not in str(program)
        assert {mount["name"] for mount in program["volumeMounts"]} == {"ml", "tmp"}


def test_values_are_what_they_are_and_name_no_variables() -> None:
    pod, _ = pods(run())
    assert {"name": "SM_HPS", "value": '{"a": "$$(HOME)"}'} in pod["containers"][0]["env"]


def test_an_image_runs_its_own_program_unless_told_otherwise() -> None:
    pod, _ = pods(run())
    assert "command" not in pod["containers"][0]
    pod, _ = pods(run(entrypoint=("python", "x.py"), arguments=()))
    assert pod["containers"][0]["command"] == ["python", "x.py"]


def test_hosts_find_each_other_below_the_service_of_their_job() -> None:
    host = run("training-job/x/hosts/algo-2", host="algo-2", peers=("algo-1", "algo-2"), group="hosts-abc")
    pod, _ = pods(host)
    assert (pod["hostname"], pod["subdomain"]) == ("algo-2", "hosts-abc")
    assert pod["dnsConfig"]["searches"] == ["hosts-abc.ns.svc.cluster.local"]
    assert "--await-names=algo-1,algo-2" in pod["initContainers"][0]["command"]
    service = manifests.group_service(host, SETTINGS, _owner("Job"))
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"].items() <= manifests.job(host, SETTINGS, "ns")["metadata"]["labels"].items()


def test_objects_go_with_their_owner() -> None:
    owner = _owner("StatefulSet")
    (reference,) = manifests.job(run(owner=owner), SETTINGS, "ns")["metadata"]["ownerReferences"]
    assert reference == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "o", "uid": "u"}
    assert "ownerReferences" not in manifests.job(run(), SETTINGS, "ns")["metadata"]


def test_labels_say_what_a_pod_is_for() -> None:
    labels = manifests.deployment(run("endpoint/fees/a-12345678"), SETTINGS, "ns")["spec"]["template"]["metadata"][
        "labels"
    ]
    assert (labels["loopcast.io/kind"], labels["loopcast.io/name"]) == ("endpoint", "fees")
    assert labels["app.kubernetes.io/instance"] == "r"


@given(NAMES, NAMES)
def test_names_and_labels_are_valid_whatever_a_job_is_called(name: str, variant: str) -> None:
    for folder in (f"training-job/{name}", f"endpoint/{name}/{variant}-12345678", f"training-job/{name}/hosts/algo-1"):
        metadata = manifests.job(run(folder), SETTINGS, "ns")["metadata"]
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", metadata["name"])
        assert len(metadata["name"]) <= 50
        assert all(
            re.fullmatch("([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]", v) for v in metadata["labels"].values()
        )


def test_two_starts_of_one_program_have_different_names() -> None:
    assert run(run="aaaaaaaaaa").name != run(run="bbbbbbbbbb").name


@pytest.mark.parametrize(
    ("text", "said"), [("{}", "carrierImage"), ("carrierImage: x\nmemory: 1", "memory"), ("[", "can't use")]
)
def test_settings_that_can_not_be_used_are_refused_with_what_is_wrong(tmp_path: Any, text: str, said: str) -> None:
    (tmp_path / "pods.yaml").write_text(text)
    with pytest.raises(BadSettings, match=said):
        read_settings(tmp_path / "pods.yaml")


def _owner(kind: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "o", "uid": "u", "labels": {}}}
