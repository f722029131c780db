"""Each environment has its own compiled pipelines: those of the code that its image holds, which names that image."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.gitops.argo import ARGOCD, CHECKOUT, ENVIRONMENTS

FOLDER = CHECKOUT / ARGOCD / "environments"
WITH_KUBEFLOW = [name for name in ENVIRONMENTS if (FOLDER / name / "pipelines").is_dir()]


def image(environment: str) -> str:
    values, tag = (yaml.safe_load((FOLDER / environment / name).read_text()) for name in ("values.yaml", "image.yaml"))
    return f"{values['global']['image']['registry']}/loopcast/pipelines:{tag['global']['image']['tag']}"


def versions(folder: Path) -> set[str]:
    found = [item for path in folder.glob("*.yaml") for item in yaml.load_all(path.read_text(), yaml.CSafeLoader)]
    return {item["metadata"]["name"] for item in found if item["kind"] == "PipelineVersion"}


def test_an_environment_has_pipelines_where_it_has_kubeflow() -> None:
    assert WITH_KUBEFLOW == ["prod", "staging"]


@pytest.mark.parametrize("environment", WITH_KUBEFLOW)
def test_every_step_runs_the_environments_image(environment: str) -> None:
    text = "".join(path.read_text() for path in (FOLDER / environment / "pipelines").iterdir())
    assert set(re.findall(r"^ +image: (.+)$", text, re.MULTILINE)) == {image(environment)}


def test_another_tag_makes_new_versions_of_every_pipeline_and_keeps_the_pipelines(tmp_path: Path) -> None:
    copied = tmp_path / "environments"
    shutil.copytree(FOLDER, copied)
    before = versions(copied / "prod" / "pipelines")
    command = [sys.executable, "scripts/promote.py", "--environments", str(copied), "prod", "--tag", "0.1.1"]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True, timeout=120)
    compiled = [str(path) for path in sorted((copied / "prod" / "pipelines").glob("*.yaml"))]
    assert done.stdout.splitlines() == [str(copied / "prod" / "image.yaml"), *compiled]
    after = versions(copied / "prod" / "pipelines")
    assert len(after) == len(before) == len(compiled)
    assert not after & before
    assert {name.rpartition("-")[0] for name in after} == {name.rpartition("-")[0] for name in before}
