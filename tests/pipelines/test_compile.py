"""What is committed under manifests/pipelines is what the code compiles to."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.image import IMAGE, VERSION
from pipelines.compile import OUTPUT, PIPELINES, compile_pipelines, version_name
from pipelines.steps import DEADLINE, WAITING_DEADLINE

CHECKOUT = Path(__file__).resolve().parents[2]


def specifications(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline's specification, and its platforms'."""
    specification, platforms = yaml.safe_load_all((folder / "ir" / f"{name}.yaml").read_text())
    return specification, platforms


def tasks(specification: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are steps."""
    parts = (specification["root"], *specification["components"].values())
    dags = [part["dag"] for part in parts if "dag" in part]
    return [task for dag in dags for task in dag["tasks"].values() if "cachingOptions" in task]


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
    specification, platforms = yaml.safe_load_all((compiled / "ir" / f"{name}.yaml").read_text())
    assert (version["spec"]["pipelineSpec"], version["spec"]["platformSpec"]) == (specification, platforms)


def test_another_content_is_another_version() -> None:
    assert version_name("loopcast-build", "a") != version_name("loopcast-build", "b")
    assert version_name("loopcast-build", "a") == version_name("loopcast-build", "a")


@pytest.mark.parametrize("name", PIPELINES)
def test_every_step_runs_in_the_pinned_image_installs_nothing_and_is_never_cached(compiled: Path, name: str) -> None:
    spec, _ = specifications(compiled, name)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] == IMAGE
        assert "pip install" not in " ".join(executor["container"]["command"])
    steps = tasks(spec)
    assert len(steps) == len(spec["deploymentSpec"]["executors"])
    assert not any(task["cachingOptions"].get("enableCache", False) for task in steps)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_steps_pod_is_bounded_in_cpu_memory_and_time(compiled: Path, name: str) -> None:
    spec, platforms = specifications(compiled, name)
    deadlines = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = spec["deploymentSpec"]["executors"]
    assert set(deadlines) == set(executors)
    for executor, parts in executors.items():
        assert set(parts["container"]["resources"]) == {
            *("cpuLimit", "cpuRequest", "memoryLimit", "memoryRequest"),
            *("resourceCpuLimit", "resourceCpuRequest", "resourceMemoryLimit", "resourceMemoryRequest"),
        }
        assert int(deadlines[executor]["activeDeadlineSeconds"]) in (DEADLINE, WAITING_DEADLINE)


def test_a_step_is_tried_again_where_that_can_help(compiled: Path) -> None:
    retries = {
        task["taskInfo"]["name"]: int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        for name in PIPELINES
        for task in tasks(specifications(compiled, name)[0])
    }
    never = {"hold-out", "evaluate", "gate", "store-performance", "check-approval", "check-endpoint"}
    calling = {"read-features", "create-models", "register", "write-threshold"}
    assert {name for name, count in retries.items() if not count} == {*never, "collect-predictions"}
    assert {name for name, count in retries.items() if count == 2} == calling


@pytest.mark.parametrize("image", ["registry.example:5000/loopcast/pipelines:1.2.3", f"x/y@sha256:{'0' * 64}"])
def test_the_steps_run_in_the_image_that_is_named(tmp_path: Path, compiled: Path, image: str) -> None:
    compile_pipelines(tmp_path, image)
    for name in PIPELINES:
        spec, _ = specifications(tmp_path, name)
        assert {parts["container"]["image"] for parts in spec["deploymentSpec"]["executors"].values()} == {image}
        versions = [
            list(yaml.safe_load_all((folder / f"{name}.yaml").read_text()))[1] for folder in (tmp_path, compiled)
        ]
        assert versions[0]["spec"]["pipelineSpec"] == spec
        assert versions[0]["metadata"]["name"] != versions[1]["metadata"]["name"]


@pytest.mark.parametrize("image", ["", "untagged", "two words:1", "x:"])
def test_an_image_that_is_none_is_refused_in_a_sentence(image: str) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--image", image]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no image with a tag or digest" in done.stderr


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
