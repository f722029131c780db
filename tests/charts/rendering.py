"""Charts as helm renders them: each in a copy of its own, so that nothing that helm fetches lands in the checkout."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
KUBERNETES = "1.34.0"
Object = dict[str, Any]
Values = Mapping[str, Any] | Path
"""Values as a mapping, or a file of them."""


class HelmError(AssertionError):
    """helm refused; the message is what it said."""


def chart_names() -> list[str]:
    """Every chart but the library."""
    return sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml") if path.parent.name != "common")


def ci_values() -> list[tuple[str, str]]:
    """Each chart with each of its ci/*-values.yaml, by names."""
    return [
        (chart, path.name) for chart in chart_names() for path in sorted((CHARTS / chart / "ci").glob("*-values.yaml"))
    ]


class Helm:
    """Renders charts below `folder`, a copy of charts/ in which dependencies are built once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: set[str] = set()
        self._rendered: dict[str, list[Object]] = {}
        shutil.copytree(CHARTS, folder / "charts", ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))

    def chart(self, name: str) -> Path:
        """The folder of the chart, with its dependencies."""
        path = self._folder / "charts" / name
        if name not in self._built:
            self._helm("dependency", "build", str(path))
            self._built.add(name)
        return path

    def render(
        self,
        chart: str,
        values: Values | Sequence[Values] = (),
        release: str = "loopcast",
        namespace: str = "loopcast",
        fresh: bool = False,
    ) -> list[Object]:
        """The objects, those of hooks and tests among them; what was rendered before is not rendered again unless
        `fresh`. Raises `HelmError`."""
        key = json.dumps([chart, values, release, namespace], default=str)
        if fresh or key not in self._rendered:
            flags = ["--namespace", namespace, "--kube-version", KUBERNETES]
            text = self._helm("template", release, str(self.chart(chart)), *flags, *self._given(values))
            self._rendered[key] = [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]
        return copy.deepcopy(self._rendered[key])

    def notes(self, chart: str, values: Values | Sequence[Values] = ()) -> str:
        """What helm says after an installation. It does so to a cluster alone, so that the notes are rendered as an
        object here."""
        folder = self.chart(chart) / "templates"
        wrapped = folder / "notes.yaml"
        text = (folder / "NOTES.txt").read_text()
        wrapped.write_text(f'{{{{ define "notes" }}}}{text}{{{{ end }}}}notes: {{{{ include "notes" . | quote }}}}')
        try:
            flags = ["--namespace", "loopcast", "--kube-version", KUBERNETES, "--show-only", "templates/notes.yaml"]
            shown = self._helm("template", "loopcast", str(folder.parent), *flags, *self._given(values))
        finally:
            wrapped.unlink()
        return str(yaml.safe_load(shown)["notes"])

    def lint(self, chart: str, values: Values | Sequence[Values] = ()) -> str:
        """Raises `HelmError`."""
        given = self._given(values)
        return self._helm("lint", "--strict", "--kube-version", KUBERNETES, *given, str(self.chart(chart)))

    def _given(self, values: Values | Sequence[Values]) -> list[str]:
        several = [values] if isinstance(values, Mapping | Path) else values
        return [flag for number, given in enumerate(several) for flag in ("--values", str(self._file(number, given)))]

    def _file(self, number: int, values: Values) -> Path:
        if isinstance(values, Path):
            return values
        file = self._folder / f"values-{number}.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        return file

    def _helm(self, *arguments: str) -> str:
        done = subprocess.run(["helm", *arguments], capture_output=True, text=True, env=_environment(self._folder))
        if done.returncode:
            raise HelmError(done.stderr[-4000:] + done.stdout[-4000:])
        return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    """helm's caches below `folder`: tests neither read nor leave any elsewhere."""
    return {**os.environ, **{f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}}


def need_helm() -> None:
    if shutil.which("helm") is None:
        pytest.skip("helm is not on PATH")


def find(objects: Iterable[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    found = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
    return found[0]


def kinds(objects: Iterable[Object]) -> set[tuple[str, str]]:
    """Each object's kind and name."""
    return {(item["kind"], item["metadata"]["name"]) for item in objects}


def pod_template(item: Object) -> Object | None:
    """The pod that an object makes, as metadata and spec; None when it makes none."""
    match item["kind"]:
        case "Pod":
            return item
        case "CronJob":
            return dict(item["spec"]["jobTemplate"]["spec"]["template"])
        case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job":
            return dict(item["spec"]["template"])
        case _:
            return None


def pods(objects: Iterable[Object]) -> list[tuple[Object, Object]]:
    """Each object that makes pods, with its pod."""
    return [(item, pod) for item in objects if (pod := pod_template(item))]


def containers(pod: Object) -> list[Object]:
    """All of a pod's containers, those that only start it among them."""
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def hook(item: Object) -> set[str]:
    """The hooks that an object is for."""
    text = (item["metadata"].get("annotations") or {}).get("helm.sh/hook", "")
    return {name for name in text.split(",") if name}


def env(pod: Object, container: int = 0) -> dict[str, Any]:
    """A container's variables; those that come from elsewhere as they are stated."""
    return {
        item["name"]: item.get("value", item.get("valueFrom"))
        for item in pod["spec"]["containers"][container].get("env", [])
    }
