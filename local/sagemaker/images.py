"""Which program of this machine stands for which image: `images.yaml`, read and searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

CHECKOUT = Path(__file__).resolve().parents[2]


class UnknownImage(LookupError):
    """No program stands for an image, or its environment isn't installed; the message says what can be done."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pattern: str
    python: Path
    module: str | None = None
    metrics: dict[str, str] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    images: list[_Entry]


@dataclass(frozen=True)
class Image:
    """A local program: an environment's interpreter and the module that it runs; `metrics` are expressions by name."""

    uri: str
    python: Path
    module: str | None
    metrics: dict[str, str]

    def command(self, argument: str) -> list[str]:
        """What the image's own entrypoint does with `train` or `serve`. Raises `UnknownImage` without a module."""
        if self.module is None:
            raise UnknownImage(f"the image {self.uri} has no program of its own: give the job an entrypoint")
        return [str(self.python), "-m", self.module, argument]

    def entrypoint(self, command: Sequence[str]) -> list[str]:
        """`command` with the image's interpreter where it begins with one."""
        if command[0] in ("python", "python3"):
            return [str(self.python), *command[1:]]
        return list(command)


def find_image(path: Path, uri: str) -> Image:
    """The program that the file at `path` gives for the image `uri`. Raises `UnknownImage`."""
    entries = _read(path).images
    for entry in entries:
        if fnmatchcase(uri, entry.pattern):
            python = CHECKOUT / entry.python
            if not python.exists():
                raise UnknownImage(f"the environment of the image {uri} is not installed: run make {_ready(entry)}")
            return Image(uri, python, entry.module, entry.metrics)
    known = ", ".join(entry.pattern for entry in entries)
    raise UnknownImage(f"no program on this machine stands for the image {uri}; known are: {known}")


def _read(path: Path) -> _File:
    try:
        return _File.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise UnknownImage(f"can't read the list of images in {path}: {error}") from error


def _ready(entry: _Entry) -> str:
    return str(entry.python.parents[1] / "ready")
