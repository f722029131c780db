"""Renders applications as Argo CD does, from a copy of what is in Git."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
ARGOCD = Path("manifests/argocd")
ENVIRONMENTS = sorted(path.name for path in (CHECKOUT / ARGOCD / "environments").iterdir())
KUBERNETES = "1.34.0"
Object = dict[str, Any]


class RenderError(AssertionError):
    """helm or kustomize refused; the message is what was run and what it said."""


class Repository:
    """A copy of the checkout as Argo CD clones it; it fetches charts' dependencies into the copy."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._built: set[str] = set()
        for folder in ("charts", "feeds", "manifests"):
            built = shutil.ignore_patterns("Chart.lock", "*.tgz", "__pycache__")
            shutil.copytree(CHECKOUT / folder, root / folder, ignore=built)

    def helm(self, chart: str, release: str, namespace: str, *arguments: str) -> list[Object]:
        """The objects of a chart. Raises `RenderError`."""
        folder = self.root / chart
        if chart not in self._built:
            _run("helm", "dependency", "build", str(folder))
            self._built.add(chart)
        where = ("--namespace", namespace, "--kube-version", KUBERNETES)
        return _objects(_run("helm", "template", release, str(folder), *where, *arguments))

    def render(self, application: Object) -> list[Object]:
        """What Argo CD would apply for an application, without the hooks that it never runs."""
        source, into = application["spec"]["source"], application["spec"]["destination"]["namespace"]
        folder = self.root / source["path"]
        if (folder / "kustomization.yaml").exists():
            return _objects(_run("kubectl", "kustomize", str(folder)))
        if "directory" in source:
            files = sorted(folder.glob(source["directory"]["include"]))
            return [found for path in files for found in _objects(path.read_text(encoding="utf-8"))]
        helm = source["helm"]
        return self.helm(source["path"], helm["releaseName"], into, *self._arguments(source, into))

    def _arguments(self, source: Object, namespace: str) -> Iterator[str]:
        helm = source["helm"]
        for name in helm["valueFiles"]:
            path = self.root / name.removeprefix("/")
            if path.exists() or not helm.get("ignoreMissingValueFiles"):
                yield from ("--values", str(path))
        if own := helm.get("valuesObject"):
            path = self.root / "values.yaml"
            path.write_text(yaml.safe_dump(own), encoding="utf-8")
            yield from ("--values", str(path))
        known = {
            "$ARGOCD_APP_SOURCE_REPO_URL": source["repoURL"],
            "$ARGOCD_APP_SOURCE_TARGET_REVISION": source["targetRevision"],
            "$ARGOCD_APP_NAMESPACE": namespace,
        }
        for parameter in helm.get("parameters", []):
            flag = "--set-string" if parameter.get("forceString") else "--set"
            yield from (flag, f"{parameter['name']}={known.get(parameter['value'], parameter['value'])}")
        for parameter in helm.get("fileParameters", []):
            yield from ("--set-file", f"{parameter['name']}={self.root / parameter['path'].removeprefix('/')}")
        if not helm.get("skipCrds"):
            yield "--include-crds"
        if helm.get("skipTests"):
            yield "--skip-tests"


@dataclass(frozen=True)
class Environment:
    """What comes of an environment's files: what an administrator applies, and what Argo CD makes of it."""

    name: str
    repository: Repository

    @property
    def folder(self) -> Path:
        return self.repository.root / ARGOCD / "environments" / self.name

    @cached_property
    def data(self) -> Object:
        return dict(yaml.safe_load((self.folder / "environment.yaml").read_text(encoding="utf-8")))

    @cached_property
    def bootstrap(self) -> list[Object]:
        chart, values = str(ARGOCD / "bootstrap"), str(self.folder / "environment.yaml")
        return self.repository.helm(chart, "bootstrap", "argocd", "--values", values)

    @cached_property
    def projects(self) -> dict[str, Object]:
        return {found["metadata"]["name"]: found for found in self.bootstrap if found["kind"] == "AppProject"}

    @cached_property
    def root(self) -> Object:
        (found,) = [found for found in self.bootstrap if found["kind"] == "Application"]
        return found

    @cached_property
    def applications(self) -> dict[str, Object]:
        """By their name without the environment: `ingestion`."""
        prefix = f"loopcast-{self.name}-"
        return {found["metadata"]["name"].removeprefix(prefix): found for found in self.repository.render(self.root)}

    @cached_property
    def objects(self) -> dict[str, list[Object]]:
        return {name: self.repository.render(application) for name, application in self.applications.items()}


def group(found: Mapping[str, Any]) -> str:
    """The API group of an object; "" for the core's."""
    before, slash, _ = str(found["apiVersion"]).partition("/")
    return before if slash else ""


def _objects(text: str) -> list[Object]:
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RenderError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    return done.stdout
