"""The images' names, requirements and Dockerfiles. That each image can import its code, its build itself proves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from components.train.images import image_of
from install.builders import Builder
from install.images import ALGORITHMS, CHECKOUT, DOCKERFILES, BuildFailed, Images, Naming, jobs, origin, run, version
from install.up import absent_images
from loopcast.names import Names

REQUIREMENTS = CHECKOUT / "requirements"
LOCKS = {"forecaster": ["forecasters"], "flink": ["flink", "main"], "flink-distribution": ["flink"]}
"""Images whose environment on a laptop is not the main one; the kernel in Flink's is tested in the main one."""
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ]+)(?: ; ([^\\]*))?", re.MULTILINE)
DEVELOPMENT = {"pytest", "mypy", "ruff", "hypothesis", "import-linter", "pre-commit", "uv", "pip"}


def pins(path: Path) -> set[tuple[str, str]]:
    """Names and versions of a lock file."""
    return {(name, pinned) for name, pinned, _ in PINNED.findall(path.read_text())}


def locks() -> list[str]:
    return sorted(path.stem for path in (REQUIREMENTS / "images").glob("*.txt"))


def instructions(name: str) -> list[str]:
    """The instructions of an image's Dockerfile, continued lines joined."""
    text = (CHECKOUT / DOCKERFILES[name]).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", locks())
def test_an_image_has_the_versions_that_the_tests_run_with(name: str) -> None:
    tested = set[tuple[str, str]]().union(*(pins(REQUIREMENTS / f"{lock}.txt") for lock in LOCKS.get(name, ["main"])))
    assert pins(REQUIREMENTS / "images" / f"{name}.txt") <= tested


@pytest.mark.parametrize("name", locks())
def test_an_image_has_no_development_tools(name: str) -> None:
    assert not DEVELOPMENT & {package for package, _ in pins(REQUIREMENTS / "images" / f"{name}.txt")}


@pytest.mark.parametrize("name", locks())
def test_every_package_of_an_image_has_a_hash(name: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", (REQUIREMENTS / "images" / f"{name}.txt").read_text(), flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if PINNED.match(block))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_nobody_in_particular_on_a_base_that_can_be_chosen(name: str) -> None:
    lines = instructions(name)
    assert re.fullmatch(r"ARG BASE=debian:12\.\d+-slim", lines[0])
    assert {line for line in lines if line.startswith("USER")} <= {"USER 65532:65532", "USER ${RUN_AS}"}
    assert "ARG RUN_AS=65532:65532" in lines or "USER 65532:65532" in lines


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_says_what_it_is_by_labels_and_whether_it_is_healthy(name: str) -> None:
    text = "\n".join(instructions(name))
    assert f'org.opencontainers.image.title="loopcast/{name}"' in text
    for argument in ("VERSION", "REVISION", "CREATED"):
        assert f'"${{{argument}}}"' in text
    assert "\nHEALTHCHECK " in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_nothing_that_changes_with_each_commit_comes_before_what_takes_long(name: str) -> None:
    lines = instructions(name)
    assert lines.index("ARG REVISION") > max(number for number, line in enumerate(lines) if line.startswith("RUN"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_begins_with_the_same_system_as_the_others(name: str) -> None:
    assert instructions(name)[1:3] == ["FROM ${BASE} AS build", "COPY install/image /install/image"]


def test_all_that_dockerfiles_copy_is_in_the_context() -> None:
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()
    allowed = tuple(line[1:] for line in ignored if line.startswith("!"))
    copied = {
        line.split()[1]
        for name in DOCKERFILES
        for line in instructions(name)
        if line.startswith("COPY ") and "--from" not in line
    }
    assert all(path.startswith(allowed) for path in copied)
    assert all((CHECKOUT / path).exists() for path in copied)


def test_images_are_named_after_the_registry_and_the_tag() -> None:
    assert Naming("1").reference("ingestion") == "loopcast/ingestion:1"
    assert Naming("1", "r.example/x/").reference("ingestion") == "r.example/x/loopcast/ingestion:1"


def test_the_images_that_jobs_ask_for_have_their_repositorys_names() -> None:
    names = Names("bitcoin-fees", "1")
    asked = {job.reference: dict(job.arguments) for job in jobs(["forecaster", "pipelines"], Naming("1"), names.feed)}
    for algorithm in ALGORITHMS:
        assert asked[f"{names.repository(algorithm)}:1"] == {"ALGORITHM": algorithm}
    assert f"{names.repository('pipelines')}:1" in asked


def test_a_run_asks_for_its_models_images_by_the_tag_that_they_were_built_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder, feed = tmp_path / "docker", "bitcoin-fees"
    builder.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/commands\n')
    builder.chmod(0o755)
    built = jobs(["forecaster", "pipelines"], Naming("0.1.1", "1.dkr.ecr.eu-west-1.amazonaws.com"), feed)
    Images(Builder((str(builder),)), "0.1.1").build(built[-1], tmp_path / "log")
    assert "--build-arg VERSION=0.1.1 " in (tmp_path / "commands").read_text()
    assert "ENV LOOPCAST_VERSION=${VERSION}" in instructions("pipelines")

    monkeypatch.setenv("LOOPCAST_VERSION", "0.1.1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    asked = {image_of(Names(feed, "1"), algorithm, {}) for algorithm in ALGORITHMS if algorithm != "deepar"}
    assert asked <= {job.reference for job in built}


def test_a_commit_says_the_same_of_itself_each_time() -> None:
    assert origin() == origin()
    if created := origin().get("CREATED"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)


def test_a_failed_build_shows_how_it_ended(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as failed:
        run(["sh", "-c", "seq 100; echo at last >&2; exit 3"], tmp_path / "log")
    assert str(failed.value).splitlines()[-2:] == ["100", "at last"]
    assert len(str(failed.value).splitlines()) == 20
    assert (tmp_path / "log").read_text().startswith("1\n2\n")


def test_images_that_no_node_has_are_named_unless_a_registry_has_them() -> None:
    known = {f"docker.io/loopcast/{name}:{version()}" for name in DOCKERFILES if name != "flink"}
    assert absent_images(known, {}) == [f"loopcast/flink:{version()}"]
    assert absent_images(known, {"global": {"image": {"registry": "r.example"}}}) == []
    assert absent_images(None, {}) == []
    assert len(absent_images(known, {"global": {"image": {"tag": "other"}}})) == len(DOCKERFILES)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["images", "nonsense"], "there is no image nonsense: there are ingestion"),
        (["images", "--push"], "give the registry to push to with --registry"),
        (["images", "--builder", "kaniko"], "kaniko is no builder that is known here"),
        (["images", "--builder", "docker 'x"], "is no command: no closing quotation"),
        (["images", "--build-options", "'"], "is no command: no closing quotation"),
        (["up", "--feed", "absent.yaml"], "absent.yaml"),
        (["up", "--set", "a"], "--set a: write NAME.NAME=VALUE"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(command: list[str], says: str, python: str) -> None:
    done = subprocess.run([python, "-m", "install", *command], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
