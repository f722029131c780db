"""Helm through pyhelm3, and the little that it has no command for: the dependencies of a chart in a folder."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from pyhelm3 import Client, errors
from pyhelm3.command import Command

from install.values import Values


class HelmFailed(Exception):
    """Helm can't be used, or refused; the message is for the user."""


class _Helm(Command):  # type: ignore[misc]  # pyhelm3 has no types
    """pyhelm3 starts helm by a shell, and only the shell would hear that it shall end: here it makes way for helm."""

    def __init__(self, **options: Any) -> None:
        super().__init__(executable="exec", **options)

    async def run(self, command: list[str], input: bytes | None = None) -> bytes:
        output: bytes = await super().run(["helm", *command], input)
        return output

    def client_version(self) -> Any:
        return Command().client_version()


def client(kubeconfig: Path | None, context: str | None) -> Client:
    """A client of the helm on PATH. Raises `HelmFailed`."""
    logging.getLogger("pyhelm3").setLevel(logging.CRITICAL)  # it warns of a release that is not there yet
    if not shutil.which("helm"):
        raise HelmFailed("helm is not on PATH: install Helm 3 and try again")
    try:
        return Client(_Helm(kubeconfig=kubeconfig, kubecontext=context, default_timeout="10m"))
    except (ValueError, subprocess.CalledProcessError) as error:
        said = subprocess.run(["helm", "version", "--template", "{{ .Version }}"], capture_output=True, text=True)
        version = said.stdout.strip() or said.stderr.strip()
        raise HelmFailed(
            f"helm calls its version {version!r}, and one in full is needed, such as v3.18.0: install a released helm, "
            "or build it with its version set"
        ) from error


def build_dependencies(chart: Path) -> None:
    """Lays the charts that `chart` names by folder into it, theirs first. Raises `HelmFailed`."""
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    folders = [
        (chart / dependency["repository"].removeprefix("file://")).resolve()
        for dependency in described.get("dependencies", [])
        if str(dependency.get("repository", "")).startswith("file://")
    ]
    for folder in folders:
        build_dependencies(folder)
    if folders:
        done = subprocess.run(
            ["helm", "dependency", "update", "--skip-refresh", str(chart)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise HelmFailed(f"the charts that {chart.name} needs can't be gathered: {done.stderr.strip()}")


def check(chart: Path, release: str, namespace: str, values: Values, kubernetes: str) -> None:
    """Raises `HelmFailed` with what the chart has against the values or the version of Kubernetes; asks no cluster."""
    command = ["helm", "template", release, str(chart), "--namespace", namespace, "--kube-version", kubernetes]
    done = subprocess.run([*command, "--values", "-"], input=yaml.safe_dump(values), capture_output=True, text=True)
    if done.returncode != 0:
        raise HelmFailed(_told(done.stderr))


async def revision(helm: Client, release: str, namespace: str) -> dict[str, Any] | None:
    """The release's newest revision: its number and status; None where there is no such release."""
    try:
        found = await helm.get_current_revision(release, namespace=namespace)
    except errors.ReleaseNotFoundError:
        return None
    return {"revision": found.revision, "status": found.status.value}


async def given(helm: Client, release: str, namespace: str) -> Values:
    """The values of the release's newest revision, its charts' own among them; none where there is no such release."""
    try:
        found = await helm.get_current_revision(release, namespace=namespace)
        return dict(await found.values(computed=True))
    except errors.ReleaseNotFoundError:
        return {}


async def install(helm: Client, chart: Path, release: str, namespace: str, values: Values, timeout: str) -> int:
    """Installs or upgrades and waits; the revision's number. Raises `HelmFailed`.

    A revision that an interrupted command left pending is put right first.
    """
    try:
        await helm.get_proceedable_revision(release, namespace=namespace, timeout=timeout)
        found = await helm.install_or_upgrade_release(
            release,
            await helm.get_chart(chart),
            values,
            namespace=namespace,
            create_namespace=False,
            reset_values=True,
            skip_crds=True,
            timeout=timeout,
            wait=True,
        )
    except errors.Error as error:
        raise HelmFailed(_said(error)) from error
    return int(found.revision)


async def uninstall(helm: Client, release: str, namespace: str, timeout: str) -> bool:
    """False where there was no such release. Raises `HelmFailed`."""
    if await revision(helm, release, namespace) is None:
        return False
    try:
        await helm.uninstall_release(release, namespace=namespace, timeout=timeout, wait=True)
    except errors.ReleaseNotFoundError:
        return False
    except errors.Error as error:
        raise HelmFailed(_said(error)) from error
    return True


def _said(error: errors.Error) -> str:
    return _told(str(error))


def _told(text: str) -> str:
    """Helm's sentences, each once: every chart of a release that shares a value says the same of it."""
    noise = ("WARNING", "walk.go:", "Use --debug")
    lines = dict.fromkeys(line for line in text.splitlines() if line.strip() and not line.startswith(noise))
    return "\n".join(lines).removeprefix("Error: ") or "helm failed and said nothing"
