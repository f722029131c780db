"""What stands for which image, a program of this machine or a container: `images.yaml`, read and searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

CHECKOUT = Path(__file__).resolve().parents[2]


class UnknownImage(LookupError):
    """Nothing stands for an image, or its environment isn't installed; the message says what can be done."""


class _Entry(BaseModel):
    """`python` and `module` name a program of this machine; `image` and `command` a container and, where it is not the
    image's own entrypoint, what it runs."""

    model_config = ConfigDict(extra="forbid")
    pattern: str
    python: Path | None = None
    module: str | None = None
    image: str | None = None
    command: list[str] = []
    environment: dict[str, str] = {}
    metrics: dict[str, str] = {}

    @model_validator(mode="after")
    def _names_one(self) -> _Entry:
        if (self.python is None) == (self.image is None):
            raise ValueError(f"{self.pattern}: give either python, a program of this machine, or image, a container")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    images: list[_Entry]


@dataclass(frozen=True)
class Image:
    """A program of this machine (an environment's interpreter and the module that it runs) or a `container` with the
    command that it is to run, empty for its own; `metrics` are expressions by name."""

    uri: str
    python: Path | None
    module: str | None
    metrics: dict[str, str]
    container: str | None = None
    own: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether it has a program of its own."""
        return self.container is not None or self.module is not None

    def command(self, *arguments: str) -> list[str]:
        """What the image's own entrypoint does with `arguments`, such as `train` or `serve`, on this machine.
        Raises `UnknownImage` without a module."""
        if self.module is None:
            raise UnknownImage(f"the image {self.uri} has no program of its own: give the job an entrypoint")
        return [str(self.interpreter), "-m", self.module, *arguments]

    def entrypoint(self, command: Sequence[str]) -> list[str]:
        """`command` with the image's interpreter where it begins with one."""
        if command[0] in ("python", "python3"):
            return [str(self.interpreter), *command[1:]]
        return list(command)

    @property
    def interpreter(self) -> Path:
        """Raises `UnknownImage` where there is none on this machine."""
        if self.python is None:
            raise UnknownImage(f"a container stands for the image {self.uri}, which --programs kubernetes runs")
        return self.python


def find_image(path: Path, uri: str) -> Image:
    """What the file at `path` gives for the image `uri`. Raises `UnknownImage`."""
    entries = _read(path).images
    for entry in entries:
        if fnmatchcase(uri, entry.pattern):
            return _image(uri, entry)
    known = ", ".join(entry.pattern for entry in entries)
    raise UnknownImage(f"no program on this machine stands for the image {uri}; known are: {known}")


def _image(uri: str, entry: _Entry) -> Image:
    python = None if entry.python is None else CHECKOUT / entry.python
    if python is not None and not python.exists():
        raise UnknownImage(f"the environment of the image {uri} is not installed: run make {_ready(python)}")
    return Image(uri, python, entry.module, entry.metrics, entry.image, tuple(entry.command), entry.environment)


def _read(path: Path) -> _File:
    try:
        return _File.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise UnknownImage(f"can't read the list of images in {path}: {error}") from error


def _ready(python: Path) -> str:
    ready = python.parents[1] / "ready"
    return str(ready.relative_to(CHECKOUT) if ready.is_relative_to(CHECKOUT) else ready)
