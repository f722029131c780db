"""Promotes by a change for a pull request: the image tag of an environment, or the model version that it may serve.

Edits the one line that holds it and leaves the rest of the file as it is. Where the environment has compiled pipelines,
a new tag compiles them anew, since their steps name the image.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENTS = Path("manifests/argocd/environments")
IMAGE = "loopcast/pipelines"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class Refused(ValueError):
    """What can't be promoted; the message is the sentence that says why."""


def promote_tag(environment: Path, tag: str) -> list[Path]:
    """Makes the environment run the images of a tag; the files that changed. Raises `Refused`."""
    if not _TAG.fullmatch(tag):
        raise Refused(f"{tag!r} can't be an image's tag")
    if tag == "latest":
        raise Refused("latest means another image each day: name the tag of one build")
    path = environment / "image.yaml"
    text = _edited(path, ("global", "image", "tag"), tag, f'"{tag}"')
    compiled = _compile(environment, tag)
    path.write_text(text, encoding="utf-8")
    return [path, *compiled]


def promote_version(environment: Path, version: int) -> list[Path]:
    """Lets production serve a version of the model; the files that changed. Raises `Refused`."""
    if version < 1:
        raise Refused(f"{version} can't be a model's version: they count from 1")
    path = environment / "policies" / "model.yaml"
    if "automatic" in _at(_read(path), ("spec", "production")):
        raise Refused(f"{environment.name} releases by itself: {path} says automatic")
    text = _edited(path, ("spec", "production", "approvedVersion"), version, str(version))
    path.write_text(text, encoding="utf-8")
    return [path]


def _edited(path: Path, keys: tuple[str, ...], value: object, written: str) -> str:
    """The file with another value on the line of `keys`. Raises `Refused` when that is not all that would change."""
    wanted, before = _read(path), path.read_text(encoding="utf-8")
    held = _at(wanted, keys[:-1])
    if held.get(keys[-1]) == value:
        raise Refused(f"{path} says {written} already")
    line = re.compile(rf"^( +{keys[-1]}: *)(?:\"[^\"]*\"|'[^']*'|[^\s#]+)", re.MULTILINE)
    after, found = line.subn(lambda match: match[1] + written, before)
    held[keys[-1]] = value
    if found != 1 or yaml.safe_load(after) != wanted:
        raise Refused(f"{path} has no line of its own for {'.'.join(keys)}: change it by hand")
    return after


def _at(found: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The mapping there; an empty one where there is none."""
    for key in keys:
        inner = found.get(key)
        found = inner if isinstance(inner, dict) else {}
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(f"{path} can't be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise Refused(f"{path} is no mapping")
    return found


def _compile(environment: Path, tag: str) -> list[Path]:
    """Compiles the environment's pipelines for the tag, where it has any."""
    output = environment / "pipelines"
    if not output.is_dir():
        return []
    registry = str(_at(_read(environment / "values.yaml"), ("global", "image")).get("registry") or "")
    image = f"{registry.rstrip('/')}/{IMAGE}:{tag}".lstrip("/")
    command = [sys.executable, "-m", "pipelines.compile", "--output", str(output), "--image", image]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"the pipelines can't be compiled for {image}: {done.stderr}")
    shutil.rmtree(output / "ir", ignore_errors=True)  # for Kubeflow's page alone
    return sorted(output.glob("*.yaml"))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python scripts/promote.py", description=__doc__)
    parser.add_argument("environment", help="for example prod")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tag", help="of the images, for example 0.1.1")
    what.add_argument("--version", type=int, help="of the model, from its registry, for example 7")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="folder (default: %(default)s)")
    given = parser.parse_args(arguments)
    if not given.environments.is_dir():
        parser.error(f"there is no folder {given.environments}: run it at the top of the checkout")
    folder = given.environments / given.environment
    known = sorted(path.name for path in given.environments.iterdir() if path.is_dir())
    if given.environment not in known:
        parser.error(f"there is no environment {given.environment!r}, but {', '.join(known)}")
    try:
        changed = promote_tag(folder, given.tag) if given.tag is not None else promote_version(folder, given.version)
    except Refused as error:
        sys.exit(f"promote: {error}")
    print(*changed, sep="\n")


if __name__ == "__main__":
    main()
