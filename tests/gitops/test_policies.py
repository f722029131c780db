"""The policies of each environment: the sample, and the lines that the environment lays over it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from operators.policies import load_policies, parse_policy
from tests.gitops.argo import CHECKOUT, Environment, Object

pytestmark = pytest.mark.charts

BASE = CHECKOUT / "manifests" / "policies"
SAMPLE = [BASE / name for name in yaml.safe_load((BASE / "Kustomization").read_text())["resources"]]


def release(environment: Environment) -> Object:
    (found,) = [found for found in environment.objects["policies"] if found["kind"] == "ReleasePolicy"]
    return found


def test_every_policy_is_one_that_the_operator_takes(environment: Environment) -> None:
    assert {parse_policy(found).key for found in environment.objects["policies"]} == {
        policy.key for policy in load_policies(SAMPLE)
    }


def test_an_environment_differs_from_the_sample_in_who_approves_alone(environment: Environment) -> None:
    mine = {policy.key: policy.spec for policy in map(parse_policy, environment.objects["policies"])}
    for policy in load_policies(SAMPLE):
        if policy.kind.name == "RetrainingPolicy":
            assert mine[policy.key] == policy.spec
        else:
            ours = {"approved_version": None, "automatic": None}
            production = mine[policy.key].production.model_copy(update=ours)
            assert mine[policy.key].model_copy(update={"production": production}) == policy.spec


def test_dev_releases_by_itself_and_the_others_wait_for_a_commit(environments: dict[str, Environment]) -> None:
    assert "automatic" in release(environments["dev"])["spec"]["production"]
    for name in ("staging", "prod"):
        assert not release(environments[name])["spec"]["production"].keys() & {"automatic", "approvedVersion"}


def test_a_promoted_version_is_what_the_policy_in_the_cluster_will_say(
    environments: dict[str, Environment], tmp_path: Path
) -> None:
    copied = tmp_path / "manifests"
    shutil.copytree(environments["prod"].repository.root / "manifests", copied)
    folder = copied / "argocd" / "environments"
    command = [sys.executable, "scripts/promote.py", "--environments", str(folder), "prod", "--version", "7"]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, timeout=60)
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(folder / "prod" / "policies")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "approvedVersion: 7\n" in rendered
