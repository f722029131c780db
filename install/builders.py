"""Programs that build images: which of docker, podman and buildah works here, and their commands."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KNOWN = ("docker", "podman", "buildah")
PROBES = {"docker": ("version", "--format", "{{.Server.Version}}"), "podman": ("info",), "buildah": ("images",)}
"""Commands that fail where a builder is installed and can't build, for example docker without its daemon."""
PROBE_SECONDS = 20
PIP_ARGUMENTS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
PROXY_ARGUMENTS = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class NoBuilder(Exception):
    """Nothing here can build an image; the message says what was tried."""


@dataclass(frozen=True)
class Builder:
    """`command` is the program with its own options, for example `buildah --storage-driver overlay`."""

    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return Path(self.command[0]).name

    def build(self, dockerfile: str, reference: str, arguments: Mapping[str, str], certificates: str = "") -> list[str]:
        """Builds `dockerfile` in the current folder, in docker's format: OCI's has no HEALTHCHECK."""
        options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        if certificates:
            options += ["--secret", f"id=pip_cert,src={certificates}"]
        if self.kind != "docker":
            options += ["--format", "docker", "--layers"]
        verb = "bud" if self.kind == "buildah" else "build"
        return [*self.command, verb, *options, *self.build_options, "-f", dockerfile, "-t", reference, "."]

    def tag(self, reference: str, name: str) -> list[str]:
        return [*self.command, "tag", reference, name]

    def push(self, reference: str) -> list[str]:
        return [*self.command, "push", reference]

    def save(self, reference: str, archive: Path) -> list[str]:
        """Writes a docker archive, which `ctr images import`, `docker load` and `kind load image-archive` take."""
        if self.kind == "buildah":
            return [*self.command, "push", "-q", reference, f"docker-archive:{archive}:{reference}"]
        form = ["--format", "docker-archive"] if self.kind == "podman" else []
        return [*self.command, "save", *form, "-o", str(archive), reference]

    def size(self, reference: str) -> list[str]:
        """Prints the size of the image, uncompressed, in words."""
        return [*self.command, "images", "--format", "{{.Size}}", reference]


def find_builder(wanted: str, build_options: str) -> Builder:
    """The builder `wanted`, with its options, or the first that works. Raises `NoBuilder`."""
    options = _words(build_options)
    if command := _words(wanted):
        if Path(command[0]).name not in KNOWN:
            raise NoBuilder(f"{command[0]} is no builder that is known here: use one of {', '.join(KNOWN)}")
        candidates = [Builder(command, options)]
    else:
        candidates = [Builder((name,), options) for name in KNOWN]
    reasons = []
    for candidate in candidates:
        reason = why_not(candidate)
        if not reason:
            return candidate
        reasons.append(f"{candidate.kind}: {reason}")
    raise NoBuilder(f"no image can be built here ({'; '.join(reasons)})")


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise NoBuilder(f"{text!r} is no command: {str(error).lower()}") from error


def why_not(builder: Builder) -> str:
    """Why this builder does not work here; nothing where it does."""
    if not shutil.which(builder.command[0]):
        return "not installed"
    command = [*builder.command, *PROBES[builder.kind]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer in {PROBE_SECONDS} s"
    return "" if done.returncode == 0 else last_line(done.stderr) or f"exit code {done.returncode}"


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def arguments_from(environment: Mapping[str, str]) -> dict[str, str]:
    """What a build is told of pip's index and of proxies: what the caller's own pip would use."""
    return {name: environment[name] for name in (*PIP_ARGUMENTS, *PROXY_ARGUMENTS) if environment.get(name)}


def certificates_from(environment: Mapping[str, str]) -> str:
    """The file of certificate authorities that the caller's pip trusts, where one is set."""
    path = environment.get("PIP_CERT", "")
    return path if path and os.path.isfile(path) else ""  # noqa: PTH113 - a path of the user's, used as it is


def commands_text(command: Sequence[str]) -> str:
    return shlex.join(command)
