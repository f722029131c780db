"""The custom resources, as files and as the API server know them, and what a status says in Kubernetes' own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from operators.engine import Engine, Outcome
from operators.models import iso
from operators.release import ReleaseStatus
from operators.release_spec import ReleaseSpec
from operators.retraining import RetrainingStatus
from operators.retraining_spec import RetrainingSpec

GROUP, VERSION = "loopcast.io", "v1alpha1"
REQUEST = f"{GROUP}/retrain"
"""The annotation each new value of which asks for a retraining."""


_NOT_READY = {"AlarmUnknown", "StageUnknown", "LaunchDelayed", "LaunchFailed"}


class PolicyError(ValueError):
    """A policy that can't be used; the message says where and why."""


@dataclass(frozen=True)
class Kind:
    """A kind of custom resource: its models, its names, and its columns besides State and Age."""

    name: str
    plural: str
    short: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[tuple[str, str, str], ...]
    about: str


RETRAINING = Kind(
    name="RetrainingPolicy",
    plural="retrainingpolicies",
    short="rtp",
    spec=RetrainingSpec,
    status=RetrainingStatus,
    columns=(
        ("Alarm", "string", ".status.alarm"),
        ("Last run", "string", ".status.lastRun.state"),
        ("Launched", "date", ".status.lastRun.launchedAt"),
        ("Reason", "string", ".status.reason"),
    ),
    about="When a feed's model is retrained.",
)
RELEASE = Kind(
    name="ReleasePolicy",
    plural="releasepolicies",
    short="rlp",
    spec=ReleaseSpec,
    status=ReleaseStatus,
    columns=(
        ("Staging", "integer", ".status.staging.version"),
        ("Production", "integer", ".status.production.version"),
        ("Last run", "string", ".status.lastRun.state"),
        ("Reason", "string", ".status.reason"),
    ),
    about="How approved models come into service, and out of it again.",
)
KINDS = {kind.name: kind for kind in (RETRAINING, RELEASE)}


@dataclass(frozen=True)
class Policy:
    """A custom resource: `spec` is a `RetrainingSpec` or a `ReleaseSpec`."""

    kind: Kind
    name: str
    spec: Any
    request: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind.plural}/{self.name}"


def parse_policy(document: Mapping[str, Any], where: str = "") -> Policy:
    """The policy that a document of YAML or the API server means. Raises `PolicyError`."""
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != f"{GROUP}/{VERSION}":
        known = " or ".join(KINDS)
        raise PolicyError(f"{where}: apiVersion must be {GROUP}/{VERSION} and kind {known}")
    metadata = _mapping(document, "metadata", where)
    name, annotations = str(metadata.get("name") or ""), _mapping(metadata, "annotations", where)
    if not name:
        raise PolicyError(f"{where}: metadata.name is missing")
    try:
        spec = kind.spec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        raise PolicyError(f"{where or name}: {_said(error)}") from error
    return Policy(kind, name, spec, str(annotations.get(REQUEST) or ""))


def _mapping(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, Mapping):
        raise PolicyError(f"{where}: {key} must be a mapping, not {found!r}")
    return found


def load_policies(paths: Iterable[Path]) -> list[Policy]:
    """The policies in files, and in the *.yaml of folders. Raises `PolicyError`."""
    found = [policy for path in _files(paths) for policy in _read(path)]
    names = [policy.key for policy in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PolicyError(f"{', '.join(twice)} is given twice")
    return found


def reconcile(engine: Engine, policy: Policy, status: Any) -> Outcome[Any]:
    """One look at a policy, whose status so far is `status`."""
    if policy.kind is RETRAINING:
        return engine.retrain(policy.name, policy.spec, status, policy.request)
    return engine.release(policy.name, policy.spec, status)


def conditions(
    before: Sequence[Mapping[str, Any]],
    generation: int,
    outcome: Outcome[Any] | None,
    now: datetime,
    reason: str,
    message: str,
) -> list[dict[str, Any]]:
    """Kubernetes' conditions: Ready (the policy is followed) and Progressing (a run goes on), or what keeps it from
    being looked at when there is no `outcome`.

    A condition keeps the moment of its last transition; `now` is the wall clock.
    """
    ready = outcome is not None and reason not in _NOT_READY
    wanted = [("Ready", ready)]
    if outcome is not None:
        wanted.append(("Progressing", outcome.status.state == "Running"))
    return [_condition(before, generation, name, str(value), reason, message, now) for name, value in wanted]


def _condition(
    before: Sequence[Mapping[str, Any]], generation: int, name: str, value: str, reason: str, said: str, now: datetime
) -> dict[str, Any]:
    known: Mapping[str, Any] = next((item for item in before if item.get("type") == name), {})
    return {
        "type": name,
        "status": value,
        "reason": reason,
        "message": said[:32768],
        "observedGeneration": generation,
        "lastTransitionTime": known["lastTransitionTime"] if known.get("status") == value else iso(now),
    }


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.yaml"))
        else:
            yield path


def _read(path: Path) -> Iterator[Policy]:
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"{path}: {error}") from error
    for document in documents:
        if document is not None:
            if not isinstance(document, Mapping):
                raise PolicyError(f"{path}: not a custom resource")
            yield parse_policy(document, str(path))


def _said(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(['spec', *(str(part) for part in item['loc'])])}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )
