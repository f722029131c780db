"""Builds the images: which there are, and what each is told."""

from __future__ import annotations

import os
import subprocess
import time
import tomllib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from install.builders import Builder, arguments_from, certificates_from

CHECKOUT = Path(__file__).resolve().parents[1]
LOGS = CHECKOUT / "build" / "images"
DOCKERFILES = {
    "ingestion": "ingestion/Dockerfile",
    "flink": "flink/Dockerfile",
    "forecaster": "forecasters/Dockerfile",
    "pipelines": "pipelines/Dockerfile",
    "operator": "operators/Dockerfile",
    "local-aws": "local/Dockerfile",
}
ALGORITHMS = ("deepar", "boosted", "statistical", "empirical")
LINES_OF_A_FAILURE = 20


class BuildFailed(Exception):
    """A command of the builder failed; the message is the end of what it printed."""


@dataclass(frozen=True)
class Naming:
    """How the images are called: `[registry/]loopcast/<name>:<tag>`."""

    tag: str
    registry: str = ""

    def reference(self, name: str) -> str:
        return self._at(f"loopcast/{name}")

    def for_feed(self, feed: str, image: str) -> str:
        """The name by which the jobs of a feed ask for an image: `loopcast.names.Names.repository`."""
        return self._at(f"loopcast-{feed}/loopcast-{image}")

    def _at(self, repository: str) -> str:
        head = f"{self.registry.rstrip('/')}/" if self.registry else ""
        return f"{head}{repository}:{self.tag}"


def version() -> str:
    """The project's version, which is the charts' appVersion."""
    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"])


def origin() -> dict[str, str]:
    """Which commit is built and when it was made: the same for each build of it; nothing outside of a checkout."""
    command = ["git", "log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%H %cd"]
    environment = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=environment)
    revision, _, created = done.stdout.strip().partition(" ")
    return {"REVISION": revision, "CREATED": created} if done.returncode == 0 else {}


@dataclass(frozen=True)
class Job:
    """One build: `reference` is the image's name, `arguments` are the build's beside those of all builds."""

    name: str
    dockerfile: str
    reference: str
    arguments: Mapping[str, str]


def jobs(names: list[str], naming: Naming, feed: str = "") -> list[Job]:
    """What to build. With a feed, also the images that its jobs ask for: the pipelines', and one for each algorithm."""
    found = [Job(name, DOCKERFILES[name], naming.reference(name), {}) for name in names]
    if feed and "forecaster" in names:
        found += [
            Job(name, DOCKERFILES["forecaster"], naming.for_feed(feed, name), {"ALGORITHM": name})
            for name in ALGORITHMS
        ]
    if feed and "pipelines" in names:
        found.append(Job("pipelines", DOCKERFILES["pipelines"], naming.for_feed(feed, "pipelines"), {}))
    return found


@dataclass(frozen=True)
class Images:
    """Builds with `builder`; `base` is the image that all begin with, or "" for the Dockerfiles' own."""

    builder: Builder
    tag: str
    base: str = ""

    def build(self, job: Job, log: Path) -> str:
        """Builds one image and gives its size in words. Raises `BuildFailed`."""
        arguments = {**arguments_from(os.environ), **origin(), "VERSION": self.tag, **job.arguments}
        if self.base:
            arguments["BASE"] = self.base
        command = self.builder.build(job.dockerfile, job.reference, arguments, certificates_from(os.environ))
        run(command, log)
        size = subprocess.run(self.builder.size(job.reference), capture_output=True, text=True)
        return size.stdout.strip().replace("\xa0", " ").partition("\n")[0]

    def save(self, job: Job, folder: Path) -> Path:
        """Leaves the image as a docker archive in `folder`. Raises `BuildFailed`."""
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder.resolve() / f"{job.reference.rpartition(':')[0].replace('/', '_')}.tar"
        archive.unlink(missing_ok=True)
        run(self.builder.save(job.reference, archive))
        return archive

    def push(self, job: Job) -> None:
        run(self.builder.push(job.reference))


def run(command: list[str], log: Path | None = None) -> None:
    """Runs a builder's command in the checkout, its output in `log`. Raises `BuildFailed` with the end of it."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
    last: deque[str] = deque(maxlen=LINES_OF_A_FAILURE)
    with (
        open(log or os.devnull, "w", buffering=1) as kept,  # noqa: PTH123 - /dev/null is no file of ours
        subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        for line in process.stdout or ():
            kept.write(line)
            last.append(line.rstrip())
    if process.returncode != 0:
        raise BuildFailed("\n".join(last))


def build_all(images: Images, todo: list[Job], say: Callable[[str], None], after: Callable[[Job], str]) -> list[Job]:
    """Builds each, says a line an image, and gives those that failed. `after` does what is to be done with an image."""
    LOGS.mkdir(parents=True, exist_ok=True)
    failed = []
    for job in todo:
        start = time.monotonic()
        log = LOGS / f"{job.name}.log"
        try:
            size = images.build(job, log)
            done = after(job)
        except BuildFailed as error:
            failed.append(job)
            say(f"{job.reference}: failed after {time.monotonic() - start:.0f} s; {log.relative_to(CHECKOUT)} ends in")
            say("".join(f"    {line}\n" for line in str(error).splitlines()).rstrip())
        else:
            say(f"{job.reference}: {size}, {time.monotonic() - start:.0f} s{done}")
    return failed
