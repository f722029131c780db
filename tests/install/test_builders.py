"""The builders' commands, and which builder is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from install.builders import KNOWN, Builder, NoBuilder, arguments_from, certificates_from, find_builder


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of nothing but what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, code: int = 0, says: str = "") -> None:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit {code}\n')
    program.chmod(0o755)


def test_docker_without_its_daemon_is_passed_over(path: Path) -> None:
    put(path, "docker", 1, "Cannot connect to the Docker daemon")
    put(path, "buildah")
    assert find_builder("", "").kind == "buildah"


def test_without_a_builder_that_works_each_ones_reason_is_told(path: Path) -> None:
    put(path, "docker", 1, "Cannot connect to the Docker daemon")
    with pytest.raises(NoBuilder) as refused:
        find_builder("", "")
    assert "docker: Cannot connect to the Docker daemon; podman: not installed" in str(refused.value)


def test_a_builder_can_be_given_with_options_of_its_own(path: Path) -> None:
    put(path, "buildah")
    builder = find_builder("buildah --storage-driver vfs", "--isolation chroot")
    assert builder.command == ("buildah", "--storage-driver", "vfs")
    assert "--isolation" in builder.build("Dockerfile", "a:1", {})


def test_an_unknown_builder_is_refused() -> None:
    with pytest.raises(NoBuilder, match="kaniko is no builder that is known here"):
        find_builder("kaniko", "")


@pytest.mark.parametrize("kind", KNOWN)
def test_each_builder_gets_the_arguments_and_pips_certificates(kind: str) -> None:
    command = Builder((kind,)).build("ingestion/Dockerfile", "loopcast/ingestion:1", {"BASE": "b"}, "/ca.pem")
    assert command[1] == ("bud" if kind == "buildah" else "build")
    assert "BASE=b" in command
    assert "id=pip_cert,src=/ca.pem" in command
    assert command[-4:] == ["ingestion/Dockerfile", "-t", "loopcast/ingestion:1", "."]


@pytest.mark.parametrize("kind", ["podman", "buildah"])
def test_images_are_built_in_the_format_that_has_health_checks(kind: str) -> None:
    command = Builder((kind,)).build("Dockerfile", "a:1", {})
    assert command[command.index("--format") + 1] == "docker"


@pytest.mark.parametrize("kind", KNOWN)
def test_each_builder_leaves_a_docker_archive(kind: str) -> None:
    assert any("/x/a.tar" in word for word in Builder((kind,)).save("a:1", Path("/x/a.tar")))


def test_a_build_is_told_of_the_callers_package_index_and_proxies_only() -> None:
    environment = {"PIP_INDEX_URL": "i", "https_proxy": "p", "PIP_FIND_LINKS": "f", "PIP_EXTRA_INDEX_URL": ""}
    assert arguments_from(environment) == {"PIP_INDEX_URL": "i", "https_proxy": "p"}


def test_certificates_count_where_the_file_is(tmp_path: Path) -> None:
    assert certificates_from({"PIP_CERT": str(tmp_path / "absent.pem")}) == ""
    assert certificates_from({"PIP_CERT": os.devnull}) == ""
    (tmp_path / "ca.pem").write_text("x")
    assert certificates_from({"PIP_CERT": str(tmp_path / "ca.pem")}) == str(tmp_path / "ca.pem")
