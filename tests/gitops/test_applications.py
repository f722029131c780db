"""The applications of each environment: data in, orders to Argo CD out."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import yaml

from tests.gitops.argo import ARGOCD, CHECKOUT, Environment, group
from tests.gitops.schema import problems

pytestmark = pytest.mark.charts

ORDER = ["crds", "local-aws", "aws-resources", "operator", "flink", "ingestion", "pipelines", "policies"]


def annotations(found: dict[str, Any]) -> dict[str, str]:
    return dict(found["metadata"].get("annotations", {}))


def test_what_an_administrator_applies_and_what_the_root_makes_is_valid(environment: Environment, definitions) -> None:
    for found in [*environment.bootstrap, *environment.applications.values()]:
        assert not list(problems(definitions[found["kind"]], found)), found["metadata"]["name"]


def test_a_mistake_in_an_application_would_be_found(environments: dict[str, Environment], definitions) -> None:
    wrong = yaml.safe_load(yaml.safe_dump(environments["dev"].root))
    wrong["spec"]["syncPolicy"]["automatic"] = {}
    del wrong["spec"]["destination"]
    wrong["spec"]["source"]["helm"]["valueFiles"] = "values.yaml"
    assert sorted(problems(definitions["Application"], wrong)) == [
        ".spec.source.helm.valueFiles: 'values.yaml' is no array",
        ".spec.syncPolicy.automatic: unknown",
        ".spec: destination is missing",
    ]


def test_definitions_come_first_then_aws_platform_workloads_pipelines_and_policies(environment: Environment) -> None:
    waves = {
        name: int(annotations(found)["argocd.argoproj.io/sync-wave"])
        for name, found in environment.applications.items()
    }
    assert list(waves) == sorted(waves)
    assert sorted(waves, key=lambda name: (waves[name], name)) == [name for name in ORDER if name in waves]
    assert {name: wave for name, wave in waves.items() if name in ("flink", "ingestion")} == {
        "flink": 4,
        "ingestion": 4,
    }
    assert len(set(waves.values())) == len(waves) - 1


def test_local_aws_is_for_the_environment_without_an_account_and_kubeflow_for_the_others(
    environments: dict[str, Environment],
) -> None:
    common = {"crds", "aws-resources", "operator", "flink", "ingestion", "policies"}
    assert set(environments["dev"].applications) == common | {"local-aws"}
    assert set(environments["staging"].applications) == common | {"pipelines"}
    assert set(environments["prod"].applications) == common | {"pipelines"}


def test_every_path_and_every_file_of_values_is_there(environment: Environment) -> None:
    for found in environment.applications.values():
        source = found["spec"]["source"]
        assert (CHECKOUT / source["path"]).is_dir(), source["path"]
        for name in source.get("helm", {}).get("valueFiles", [])[:2]:
            assert (CHECKOUT / name.removeprefix("/")).is_file(), name


def test_every_file_of_an_environment_is_used(environment: Environment) -> None:
    used = {"environment.yaml"}
    for found in environment.applications.values():
        source = found["spec"]["source"]
        used |= {name.rpartition("/")[2] for name in source.get("helm", {}).get("valueFiles", [])}
        used.add(source["path"].rpartition("/")[2])
    assert {path.name for path in environment.folder.iterdir()} <= used


def test_the_repository_is_named_in_one_place() -> None:
    url = yaml.safe_load((CHECKOUT / ARGOCD / "bootstrap" / "values.yaml").read_text())["repoURL"]
    holding = [path for path in (CHECKOUT / ARGOCD).rglob("*") if path.is_file() and url in path.read_text()]
    assert holding == [CHECKOUT / ARGOCD / "bootstrap" / "values.yaml"]


def test_another_repository_and_branch_reach_every_application_and_project(
    environments: dict[str, Environment],
) -> None:
    repository = environments["prod"].repository
    values = str(environments["prod"].folder / "environment.yaml")
    other = "https://example.org/other.git"
    made = repository.helm(
        str(ARGOCD / "bootstrap"), "b", "argocd", "--values", values, "--set", f"repoURL={other},revision=1.20"
    )
    (root,) = [found for found in made if found["kind"] == "Application"]
    for found in repository.render(root):
        assert found["spec"]["source"]["repoURL"] == other
        assert found["spec"]["source"]["targetRevision"] == "1.20"
    assert all(found["spec"]["sourceRepos"] == [other] for found in made if found["kind"] == "AppProject")


def test_another_feed_is_the_name_of_its_file_in_the_environments(environments: dict[str, Environment]) -> None:
    for environment in environments.values():
        repository = environment.repository
        shutil.copy(CHECKOUT / "tests" / "flink" / "harbour.yaml", repository.root / "feeds")
        given = ("--set", "repoURL=https://example.org/other.git,feed=feeds/harbour.yaml")
        values = ("--values", str(environment.folder / "environment.yaml"))
        for found in repository.helm(str(ARGOCD / "apps"), "apps", "argocd", *values, *given):
            if "helm" in found["spec"]["source"]:
                text = yaml.safe_dump(repository.render(found))
                assert "harbour-loads" in text, found["metadata"]["name"]
                assert "bitcoin-fees" not in text, found["metadata"]["name"]


def test_every_application_heals_itself_and_is_tried_again_with_a_back_off(environment: Environment) -> None:
    for found in [environment.root, *environment.applications.values()]:
        policy = found["spec"]["syncPolicy"]
        assert policy["automated"]["selfHeal"] is True
        assert policy["retry"]["limit"] >= 5
        assert policy["retry"]["backoff"] == {"duration": "15s", "factor": 2, "maxDuration": "5m"}
        assert "ServerSideApply=true" in policy["syncOptions"]


def test_nothing_that_holds_data_is_pruned_or_deleted_with_its_application(environment: Environment) -> None:
    for name, found in environment.applications.items():
        keeps = name in ("crds", "local-aws", "aws-resources")
        assert found["spec"]["syncPolicy"]["automated"]["prune"] is not keeps
        assert ("finalizers" in found["metadata"]) is not keeps
        kept = annotations(found).get("argocd.argoproj.io/sync-options", "")
        assert kept == ("Prune=false,Delete=false" if keeps else "")


def test_what_holds_data_is_in_an_application_that_keeps_it(environment: Environment) -> None:
    for name, objects in environment.objects.items():
        if environment.applications[name]["spec"]["syncPolicy"]["automated"]["prune"]:
            kinds = {found["kind"] for found in objects}
            assert not kinds & {"PersistentVolumeClaim", "CustomResourceDefinition", "StatefulSet", "Namespace"}, name
            assert not {found["apiVersion"] for found in objects if "services.k8s.aws" in group(found)}, name


def test_the_first_application_makes_the_namespace_restricted_and_no_other_touches_it(environment: Environment) -> None:
    for name, found in environment.applications.items():
        policy = found["spec"]["syncPolicy"]
        assert ("CreateNamespace=true" in policy["syncOptions"]) is (name == "crds")
        labels = policy.get("managedNamespaceMetadata", {}).get("labels", {})
        assert labels.get("pod-security.kubernetes.io/enforce") == ("restricted" if name == "crds" else None)


def test_no_object_is_in_two_applications(environment: Environment) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name, objects in environment.objects.items():
        into = environment.applications[name]["spec"]["destination"]["namespace"]
        for found in objects:
            meta = found["metadata"]
            key = (group(found), found["kind"], meta.get("namespace", into), meta["name"])
            assert key not in seen, f"{key} is in {seen.get(key)} and {name}"
            seen[key] = name


def test_what_is_rendered_twice_is_the_same(environment: Environment) -> None:
    for name, application in environment.applications.items():
        assert environment.repository.render(application) == environment.objects[name], name


def test_objects_stay_in_the_namespace_of_their_application(environment: Environment) -> None:
    for name, objects in environment.objects.items():
        into = environment.applications[name]["spec"]["destination"]["namespace"]
        assert {found["metadata"].get("namespace", into) for found in objects} == {into}, name


def test_every_pod_of_an_environment_runs_the_tag_of_its_one_file(environment: Environment) -> None:
    tag = yaml.safe_load((environment.folder / "image.yaml").read_text())["global"]["image"]["tag"]
    images = set(_images([objects for name, objects in environment.objects.items() if name != "pipelines"]))
    assert images
    assert {image.rpartition(":")[2] for image in images} == {tag}


def test_replicas_are_left_to_the_autoscaler_where_there_is_one(environment: Environment) -> None:
    for name, objects in environment.objects.items():
        scaled = {
            found["spec"]["scaleTargetRef"]["name"] for found in objects if found["kind"] == "HorizontalPodAutoscaler"
        }
        ignored = {
            rule["name"]
            for rule in environment.applications[name]["spec"].get("ignoreDifferences", [])
            if rule["kind"] == "Deployment"
        }
        assert ignored == scaled, name


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_a_change_of_the_flink_job_begins_with_a_savepoint_and_falls_back_on_a_checkpoint(
    environments: dict[str, Environment], name: str
) -> None:
    (deployment,) = [item for item in environments[name].objects["flink"] if item["kind"] == "FlinkDeployment"]
    settings = deployment["spec"]["flinkConfiguration"]
    assert deployment["spec"]["job"]["upgradeMode"] == "savepoint"
    assert settings["execution.checkpointing.savepoint-dir"].startswith("s3://")
    assert settings["high-availability.type"] == "kubernetes"
    assert "kubernetes.operator.job.upgrade.last-state-fallback.enabled" not in settings  # true by default


def test_what_is_ignored_exists(environment: Environment) -> None:
    for name, objects in environment.objects.items():
        kinds = {(group(found), found["kind"]) for found in objects}
        for rule in environment.applications[name]["spec"].get("ignoreDifferences", []):
            assert (rule["group"], rule["kind"]) in kinds, f"{name}: {rule}"


def _images(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["image"]] if isinstance(found.get("image"), str) else []
        return own + [image for item in found.values() for image in _images(item)]
    return [image for item in found for image in _images(item)] if isinstance(found, list) else []


def test_environments_differ_in_nothing_but_their_files(environments: dict[str, Environment]) -> None:
    """Staging and production: after what the files say is taken out, the same applications."""

    def plain(environment: Environment) -> str:
        text = yaml.safe_dump(environment.applications)
        return text.replace(environment.name, "ENV")

    staging, prod = environments["staging"], environments["prod"]
    without = yaml.safe_load(plain(prod))
    del without["ingestion"]["spec"]["ignoreDifferences"]
    assert yaml.safe_load(plain(staging)) == without
