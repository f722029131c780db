"""The values of an installation: files, `--set` and what the options say, later ones over earlier ones as Helm does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Values = dict[str, Any]
FOLDER = Path(__file__).parent / "values"


class BadValues(ValueError):
    """Values that can't be used; the message says which and why."""


def places() -> list[str]:
    """The names of what `--values-for` takes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def merge(*layers: Mapping[str, Any]) -> Values:
    """Later layers win; only mappings are merged, lists are replaced."""
    merged: Values = {}
    for layer in layers:
        for name, value in layer.items():
            known = merged.get(name)
            merged[name] = merge(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
    return merged


def read(path: Path) -> Values:
    """A file of values. Raises `BadValues`."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadValues(f"{path} can't be read: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadValues(f"{path} is no mapping of values")
    return values


def assigned(text: str) -> Values:
    """What `--set a.b=1` says; the value is YAML: 1, true, [x, y], text. Raises `BadValues`."""
    path, equals, value = text.partition("=")
    names = path.split(".")
    if not equals or not all(names):
        raise BadValues(f"--set {text}: write NAME.NAME=VALUE")
    try:
        last = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise BadValues(f"--set {text}: {' '.join(str(error).split())}") from error
    result: Values = {names[-1]: last}
    for name in reversed(names[:-1]):
        result = {name: result}
    return result


def gather(place: str, files: Sequence[Path], settings: Sequence[str], more: Mapping[str, Any]) -> Values:
    """Those of the place, the files, `more` (what other options say) and `--set`, in this order. Raises `BadValues`."""
    layers = [read(FOLDER / f"{place}.yaml")] if place else []
    return merge(*layers, *(read(path) for path in files), more, *(assigned(text) for text in settings))
