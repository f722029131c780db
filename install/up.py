"""`python -m install up`: checks, definitions, the release, and what happens meanwhile, told as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyhelm3 import Client

from install import helm
from install.cluster import RESTRICTED, Cluster, ClusterFailed
from install.images import CHECKOUT, DOCKERFILES, Naming, version
from install.parts import Changes, Part, failing, parts, policy_line
from install.values import Values

CHART = CHECKOUT / "charts" / "loopcast"
DEFINITIONS = CHECKOUT / "manifests" / "operator" / "crds.yaml"
DEFINITIONS_SECONDS = 60.0
LOOK_SECONDS = 2.0
STILL_SECONDS = 30.0
"""How long nothing may be said before what is awaited is said again."""
LOG_LINES = 8

Say = Callable[[str], None]


class InstallFailed(Exception):
    """The release is not up; the message says which pods failed and why."""


@dataclass(frozen=True)
class Release:
    """What to install where; `timeout` is Helm's, for example 10m.

    `patience` is how many seconds a part may wait for what does not come by itself, such as an image that nobody has.
    """

    name: str
    namespace: str
    values: Values
    timeout: str = "10m"
    chart: Path = CHART
    patience: float = 120.0


async def up(cluster: Cluster, client: Client, release: Release, say: Say) -> None:
    """Installs or upgrades the release and returns when all of its parts are ready.

    Raises `ClusterFailed`, `helm.HelmFailed` or `InstallFailed`.
    """
    say(f"cluster {cluster.host}, Kubernetes {cluster.version}, helm {client.version}")
    say(f"gathering {release.chart.name}'s charts")
    await asyncio.to_thread(helm.build_dependencies, release.chart)
    await asyncio.to_thread(helm.check, release.chart, release.name, release.namespace, release.values, cluster.version)
    prepare(cluster, release, say)
    say(f"installing {release.name} in {release.namespace}")
    work = asyncio.create_task(
        helm.install(client, release.chart, release.name, release.namespace, release.values, release.timeout)
    )
    given_up = await _watch(cluster, release, work, say)
    try:
        revision = await work
    except asyncio.CancelledError:
        if not given_up:
            raise
        raise InstallFailed(report(cluster, release, given_up)) from None
    except helm.HelmFailed as error:
        raise InstallFailed(report(cluster, release, str(error))) from error
    say(f"{release.name} is up: revision {revision}")


def prepare(cluster: Cluster, release: Release, say: Say) -> None:
    """Rights, the namespace, images and definitions. Raises `ClusterFailed`."""
    missing = cluster.missing_rights(release.namespace)
    if missing:
        raise ClusterFailed(f"this user of the cluster may not: {', '.join(missing)}")
    labels = cluster.namespace(release.namespace)
    if labels is None:
        cluster.create_namespace(release.namespace)
        say(f"namespace {release.namespace} made, with restricted Pod Security")
    elif not RESTRICTED.items() <= labels.items():
        say(f"namespace {release.namespace} was there; it does not hold its pods to restricted Pod Security")
    if absent := absent_images(cluster.images(), release.values):
        say(f"no node has {', '.join(absent)} yet: build and import them (make images), or say --registry")
    names = cluster.apply(DEFINITIONS)
    if not cluster.established(names, DEFINITIONS_SECONDS):
        raise ClusterFailed(f"the cluster does not serve {', '.join(names)} after {DEFINITIONS_SECONDS:.0f} s")
    say(f"definitions applied: {', '.join(names)}")


def absent_images(known: set[str] | None, values: Values) -> list[str]:
    """The images that no node has, of those that must lie on nodes because no registry is given.

    `known` are the names of what lies there; None where that isn't known: then none is called absent.
    """
    image = (values.get("global") or {}).get("image") or {}
    if known is None or image.get("registry"):
        return []
    wanted = [Naming(str(image.get("tag") or version())).reference(name) for name in DOCKERFILES]
    return [name for name in wanted if not any(found == name or found.endswith(f"/{name}") for found in known)]


async def _watch(cluster: Cluster, release: Release, work: asyncio.Task[int], say: Say) -> str:
    """Says each change of a part until Helm is done; why it was given up, where it was."""
    changes, stuck_since, last = Changes(), 0.0, time.monotonic()
    while not (await asyncio.wait({work}, timeout=LOOK_SECONDS))[0]:
        try:
            found = await asyncio.to_thread(_look, cluster, release)
        except ClusterFailed:
            continue
        news = changes.news(found)
        if news or time.monotonic() - last > STILL_SECONDS:
            for line in news or [_still(found)]:
                say(f"  {line}")
            last = time.monotonic()
        stuck = [part for part in found if part.hopeless]
        stuck_since = (stuck_since or time.monotonic()) if stuck else 0.0
        if stuck and time.monotonic() - stuck_since > release.patience:
            work.cancel()
            return f"given up after {release.patience:.0f} s: {stuck[0].line}"
    for line in changes.news(await asyncio.to_thread(_look, cluster, release)):
        say(f"  {line}")
    return ""


def _look(cluster: Cluster, release: Release) -> list[Part]:
    return parts(cluster.workloads(release.name, release.namespace), cluster.pods(release.name, release.namespace))


def _still(found: list[Part]) -> str:
    waits = [part.line for part in found if not part.ready]
    return f"{len(found) - len(waits)} of {len(found)} parts are ready; " + ("; ".join(waits) or "helm finishes")


def report(cluster: Cluster, release: Release, why: str) -> str:
    """Why the installation failed: what Helm says, and each pod that is not well with the end of its log."""
    lines = [f"{release.name} is not up: {why}"]
    for pod, container, reason in failing(cluster.pods(release.name, release.namespace)):
        lines.append(f"pod {pod}: {reason}")
        log = cluster.log(pod, container, release.namespace, LOG_LINES)
        lines += [f"    {line}" for line in log.splitlines()]
    return "\n".join(lines)


async def status(cluster: Cluster, client: Client, release: str, namespace: str, say: Say) -> bool:
    """Says how the release is; whether it is there and all of it is ready."""
    found = await helm.revision(client, release, namespace)
    if found is None:
        say(f"there is no release {release} in {namespace}")
        return False
    say(f"{release} in {namespace}: revision {found['revision']}, {found['status']}")
    known = parts(cluster.workloads(release, namespace), cluster.pods(release, namespace))
    for part in known:
        say(f"  {part.line}")
    for policy in cluster.policies(namespace):
        say(f"  {policy_line(policy)}")
    return all(part.ready for part in known)
