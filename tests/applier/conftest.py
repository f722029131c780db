"""Runs the applier as its command line does, against a real local AWS."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from applier.__main__ import DEFAULT_PATH, main
from applier.manifest import placeholders, read_manifests
from applier.resources import Place, Resource, resources_of
from loopcast.feed import load_feed
from loopcast.names import Names

DEFAULT_FEED = Path(__file__).parent.parent.parent / "feeds" / "bitcoin-fees.yaml"
ACCOUNT = "000000000000"
REGION = "us-east-1"
_numbers = count(1)


@dataclass(frozen=True)
class Said:
    """How a command ended, and its lines on standard output and standard error."""

    code: int
    lines: list[str]
    errors: list[str]


@dataclass(frozen=True)
class Stack:
    """A feed of its own, a copy of the manifests to change, and the applier over both."""

    feed: Path
    manifests: Path
    names: Names
    run_main: Callable[[list[str]], Said]

    def run(self, command: str, *flags: str) -> Said:
        return self.run_main([command, str(self.manifests), "--feed", str(self.feed), *flags])

    def edit(self, file: str, old: str, new: str) -> int:
        """Replaces `old`, which stands there once, and returns its line."""
        path = self.manifests / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        return text[: text.index(old)].count("\n") + 1

    def resources(self) -> list[Resource]:
        values = placeholders(load_feed(self.feed), ACCOUNT, REGION)
        return resources_of(read_manifests(self.manifests, values), Place(ACCOUNT, REGION))


@pytest.fixture
def run_main(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], Said]:
    def run(arguments: list[str]) -> Said:
        code = main(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out.splitlines(), captured.err.splitlines())

    return run


@pytest.fixture
def make_stack(tmp_path: Path, run_main: Callable[[list[str]], Said]) -> Callable[[str], Stack]:
    """Makes the stack of a feed with the given name."""

    def make(name: str) -> Stack:
        folder = tmp_path / name
        shutil.copytree(DEFAULT_PATH, folder / "manifests")
        feed = folder / "feed.yaml"
        feed.write_text(DEFAULT_FEED.read_text().replace("name: bitcoin-fees", f"name: {name}"))
        return Stack(feed, folder / "manifests", Names(name, ACCOUNT), run_main)

    return make


@pytest.fixture
def stack(make_stack: Callable[[str], Stack]) -> Stack:
    """The stack of a feed that no other test has."""
    return make_stack(f"feed{next(_numbers)}")
