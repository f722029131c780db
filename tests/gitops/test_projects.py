"""Each project allows what its applications hold, where they hold it, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import yaml

from tests.gitops.argo import Environment, Object, group

pytestmark = pytest.mark.charts

CLUSTER = {
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "StorageClass",
}
CLUSTER |= {"PersistentVolume", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService"}
"""Kinds of no namespace."""
OWNED = {
    ("apps", "Deployment"): {("apps", "ReplicaSet"), ("", "Pod")},
    ("apps", "StatefulSet"): {("", "Pod")},
    ("batch", "Job"): {("", "Pod")},
    ("batch", "CronJob"): {("batch", "Job"), ("", "Pod")},
    ("flink.apache.org", "FlinkDeployment"): {("apps", "Deployment"), ("apps", "ReplicaSet"), ("", "Pod")},
}
"""What these make themselves: Argo CD shows it, and its logs, where the project allows it. Who may make a Deployment
may make its pods, so that this gives nobody more."""


def held(environment: Environment) -> dict[str, list[tuple[Object, Object]]]:
    """By project: its applications' objects, each with its application."""
    found: dict[str, list[tuple[Object, Object]]] = defaultdict(list)
    for name, application in environment.applications.items():
        found[application["spec"]["project"]] += [(application, item) for item in environment.objects[name]]
    return found


def needed(objects: list[tuple[Object, Object]]) -> dict[str, list[str]]:
    """The namespaced kinds by group, as an environment's file writes them."""
    kinds = {(group(item), item["kind"]) for _, item in objects if item["kind"] not in CLUSTER}
    kinds |= {owned for kind in kinds for owned in OWNED.get(kind, ())}
    found: dict[str, list[str]] = defaultdict(list)
    for of, kind in sorted(kinds):
        found[of or "core"].append(kind)
    return dict(found)


def test_a_project_allows_exactly_the_kinds_that_its_applications_hold(environment: Environment) -> None:
    wanted: dict[str, Any] = {}
    for project, objects in held(environment).items():
        short = project.removeprefix(f"loopcast-{environment.name}-")
        wanted[short] = needed(objects)
    stated = {name: may.get("kinds", {}) for name, may in environment.data["projects"].items()}
    assert stated == wanted, "kinds should be:\n" + yaml.safe_dump(wanted, sort_keys=False)


def test_nothing_but_the_definitions_is_outside_the_namespace(environment: Environment) -> None:
    for name, objects in environment.objects.items():
        assert {found["kind"] for found in objects} & CLUSTER == (
            {"CustomResourceDefinition"} if name == "crds" else set()
        )


def test_only_our_definitions_and_our_namespace_are_allowed_beyond_a_namespace(environment: Environment) -> None:
    crds = {"group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition"}
    for name, project in environment.projects.items():
        allowed = project["spec"]["clusterResourceWhitelist"]
        if not name.endswith("-crds"):
            assert allowed == []
            continue
        names = [item["metadata"]["name"] for item in environment.objects["crds"]]
        assert allowed == [
            *({**crds, "name": found} for found in sorted(names)),
            {"group": "", "kind": "Namespace", "name": environment.data["namespace"]},
        ]


def test_an_empty_list_of_kinds_never_means_all_of_them(environment: Environment) -> None:
    for project in environment.projects.values():
        if not project["spec"].get("namespaceResourceWhitelist"):
            assert project["spec"]["namespaceResourceBlacklist"] == [{"group": "*", "kind": "*"}]


def test_nothing_is_allowed_by_a_wildcard(environment: Environment) -> None:
    for project in environment.projects.values():
        allowed = {key: value for key, value in project["spec"].items() if not key.endswith("Blacklist")}
        assert "*" not in yaml.safe_dump(allowed)


def test_a_project_reaches_one_namespace_of_one_cluster_from_one_repository(environment: Environment) -> None:
    for project in environment.projects.values():
        assert len(project["spec"]["destinations"]) == len(project["spec"]["sourceRepos"]) == 1
    for application in environment.applications.values():
        spec = application["spec"]
        allowed = environment.projects[spec["project"]]["spec"]
        assert allowed["destinations"] == [spec["destination"]]
        assert allowed["sourceRepos"] == [spec["source"]["repoURL"]]


def test_the_root_makes_applications_and_nothing_else(environment: Environment) -> None:
    allowed = environment.projects[environment.root["spec"]["project"]]["spec"]
    assert allowed["namespaceResourceWhitelist"] == [{"group": "argoproj.io", "kind": "Application"}]
    assert {found["kind"] for found in environment.applications.values()} == {"Application"}
    assert allowed["destinations"] == [environment.root["spec"]["destination"]]


def test_a_project_for_each_application_and_none_besides(environment: Environment) -> None:
    used = {found["spec"]["project"] for found in [environment.root, *environment.applications.values()]}
    assert set(environment.projects) == used
