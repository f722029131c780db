"""What is committed under manifests/pipelines is what the code compiles to."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from components.image import IMAGE, VERSION
from pipelines.compile import OUTPUT, PIPELINES, compile_pipelines, version_name

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    compile_pipelines(folder)
    return folder


def test_the_committed_files_are_current(compiled: Path) -> None:
    made = {path.relative_to(compiled): path.read_text() for path in compiled.rglob("*.yaml")}
    committed = CHECKOUT / OUTPUT
    kept = {path.relative_to(committed): path.read_text() for path in committed.rglob("*.yaml")}
    assert kept == made, "run python -m pipelines.compile and commit what it writes"


@pytest.mark.parametrize("name", PIPELINES)
def test_a_version_belongs_to_its_pipeline_and_comes_after_it(compiled: Path, name: str) -> None:
    pipeline, version = yaml.safe_load_all((compiled / f"{name}.yaml").read_text())
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    waves = [document["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for document in (pipeline, version)]
    assert waves == ["0", "1"]
    assert version["spec"]["pipelineSpec"] == yaml.safe_load((compiled / "ir" / f"{name}.yaml").read_text())


def test_another_content_is_another_version() -> None:
    assert version_name("loopcast-build", "a") != version_name("loopcast-build", "b")
    assert version_name("loopcast-build", "a") == version_name("loopcast-build", "a")


@pytest.mark.parametrize("name", PIPELINES)
def test_every_step_runs_in_the_pinned_image_installs_nothing_and_is_never_cached(compiled: Path, name: str) -> None:
    spec = yaml.safe_load((compiled / "ir" / f"{name}.yaml").read_text())
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] == IMAGE
        assert "pip install" not in " ".join(executor["container"]["command"])
    dags = [part["dag"] for part in (spec["root"], *spec["components"].values()) if "dag" in part]
    steps = [task for dag in dags for task in dag["tasks"].values() if "cachingOptions" in task]
    assert len(steps) == len(spec["deploymentSpec"]["executors"])
    assert not any(task["cachingOptions"].get("enableCache", False) for task in steps)


def test_no_hyperparameter_or_threshold_is_frozen_when_the_pipeline_is_compiled(compiled: Path) -> None:
    text = (compiled / "ir" / "build.yaml").read_text()
    assert "context_length" not in text
    assert "max_loss" not in text


def test_images_bear_the_projects_version() -> None:
    assert tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_command_writes_where_it_is_told_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(str(path) for path in tmp_path.rglob("*.yaml"))
