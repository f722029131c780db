"""A promotion is a change of one line, for a pull request."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path

import pytest

from scripts.promote import main
from tests.gitops.argo import ARGOCD, CHECKOUT

Promote = Callable[..., "Done"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The environments, without their compiled pipelines."""
    target = tmp_path / "environments"
    shutil.copytree(CHECKOUT / ARGOCD / "environments", target, ignore=shutil.ignore_patterns("pipelines"))
    return target


@dataclass(frozen=True)
class Done:
    """How the command ended: the code, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def promote(capsys: pytest.CaptureFixture[str]) -> Promote:
    def run(environments: Path, *arguments: str) -> Done:
        code: object = 0
        try:
            main(["--environments", str(environments), *arguments])
        except SystemExit as ended:
            code = ended.code
        told = capsys.readouterr()
        said = code if isinstance(code, str) else ""
        return Done(code if isinstance(code, int) else 1, told.out, told.err + said)

    return run


def changes(before: Path, after: Path) -> dict[str, list[str]]:
    """The lines that went and came, by file."""
    found = {}
    for path in sorted(before.rglob("*.yaml")):
        name = str(path.relative_to(before))
        if (after / name).exists() and path.read_bytes() != (after / name).read_bytes():
            lines = ndiff(path.read_text().splitlines(), (after / name).read_text().splitlines())
            found[name] = [line for line in lines if line[0] in "+-"]
    return found


def test_a_tag_changes_one_line_of_one_environment(copied: Path) -> None:
    command = [sys.executable, "scripts/promote.py", "--environments", str(copied), "prod", "--tag", "0.1.1"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{copied}/prod/image.yaml\n"
    assert changes(CHECKOUT / ARGOCD / "environments", copied) == {
        "prod/image.yaml": ['-     tag: "0.1.0"', '+     tag: "0.1.1"']
    }


def test_a_tag_that_looks_like_a_number_stays_a_text(copied: Path, promote: Promote) -> None:
    assert promote(copied, "dev", "--tag", "1.20").returncode == 0
    assert '    tag: "1.20"\n' in (copied / "dev" / "image.yaml").read_text()


def test_a_version_of_the_model_changes_one_line_of_one_environment(copied: Path, promote: Promote) -> None:
    before = shutil.copytree(copied, copied.parent / "before")
    assert promote(copied, "prod", "--version", "7").returncode == 0
    assert changes(before, copied) == {
        "prod/policies/model.yaml": ["-     approvedVersion: null", "+     approvedVersion: 7"]
    }
    assert promote(copied, "prod", "--version", "12").returncode == 0
    assert changes(before, copied) == {
        "prod/policies/model.yaml": ["-     approvedVersion: null", "+     approvedVersion: 12"]
    }


def test_comments_and_the_order_of_lines_stay(copied: Path, promote: Promote) -> None:
    path = copied / "prod" / "image.yaml"
    path.write_text("# why\nglobal:\n  # which\n  image:\n    tag: '0.1.0' # since may\n    registry: x\n")
    assert promote(copied, "prod", "--tag", "0.1.1").returncode == 0
    assert path.read_text() == ('# why\nglobal:\n  # which\n  image:\n    tag: "0.1.1" # since may\n    registry: x\n')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prod", "--tag", "0.1 .1"], "'0.1 .1' can't be an image's tag"),
        (["prod", "--tag", ""], "'' can't be an image's tag"),
        (["prod", "--tag", "loopcast/operator:0.1.1"], "can't be an image's tag"),
        (["prod", "--tag", 'x"'], "can't be an image's tag"),
        (["prod", "--tag", "latest"], "name the tag of one build"),
        (["prod", "--tag", "0.1.0"], 'image.yaml says "0.1.0" already'),
        (["prod", "--version", "0"], "they count from 1"),
        (["prod", "--version", "-3"], "they count from 1"),
        (["prod", "--version", "seven"], "invalid int value: 'seven'"),
        (["dev", "--version", "7"], "dev releases by itself"),
        (["production", "--tag", "1"], "there is no environment 'production', but dev, prod, staging"),
        (["..", "--tag", "1"], "there is no environment '..'"),
        (["prod"], "one of the arguments --tag --version is required"),
        (["prod", "--tag", "1", "--version", "1"], "not allowed with argument"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_a_sentence_and_changes_nothing(
    copied: Path, promote: Promote, arguments: list[str], said: str
) -> None:
    before = shutil.copytree(copied, copied.parent / "before")
    done = promote(copied, *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert changes(before, copied) == {}


@pytest.mark.parametrize(
    "text", ["global: {image: {tag: 0.1.0}}\n", "global:\n  image: {}\n", "a:\n  tag: 1\nglobal: {}\n"]
)
def test_a_file_of_another_form_is_left_to_a_person(copied: Path, promote: Promote, text: str) -> None:
    path = copied / "prod" / "image.yaml"
    path.write_text(text)
    done = promote(copied, "prod", "--tag", "0.1.1")
    assert done.returncode != 0
    assert "change it by hand" in done.stderr
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read: [Errno 2] No such file"),
        ("global: {", "can't be read: while parsing"),
        ("", "is no mapping"),
        ("global: x\n", "change it by hand"),
    ],
)
def test_a_file_that_can_not_be_used_is_named(copied: Path, promote: Promote, text: str | None, said: str) -> None:
    for path, arguments in (
        (copied / "prod" / "image.yaml", ("--tag", "0.1.1")),
        (copied / "prod" / "policies" / "model.yaml", ("--version", "7")),
    ):
        path.unlink() if text is None else path.write_text(text)
        done = promote(copied, "prod", *arguments)
        assert done.returncode != 0
        assert f"{path} " in done.stderr
        assert said in done.stderr


def test_a_missing_folder_of_environments_is_named(tmp_path: Path, promote: Promote) -> None:
    done = promote(tmp_path / "none", "prod", "--tag", "1")
    assert done.returncode == 2
    assert f"there is no folder {tmp_path / 'none'}" in done.stderr
