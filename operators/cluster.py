"""The operator in a cluster: a thin shell of kopf round the same decisions.

kopf watches; one loop looks at every policy at each interval, and at once when a policy was changed. Only raw events
are handled, so that kopf leaves nothing on the policies: no finalizer, which would hang an uninstall when the operator
has gone first, and no annotation.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import kubernetes as k8s
import urllib3

from loopcast.service import Part
from operators import metrics
from operators.claims import ClaimTable
from operators.engine import Engine, Outcome
from operators.event_time import NoMinutes
from operators.launchers.base import Launcher
from operators.launchers.jobs import JobLauncher, owner_of
from operators.launchers.kfp import KfpLauncher
from operators.launchers.manifest import TemplateError, read_template
from operators.observe import AwsObserver
from operators.policies import (
    GROUP,
    KINDS,
    RELEASE,
    REQUEST,
    VERSION,
    Kind,
    Policy,
    PolicyError,
    conditions,
    parse_policy,
    reconcile,
)

log = logging.getLogger(__name__)
_WARNINGS = {"LaunchFailed", "LaunchDelayed", "TimedOut", "RollBack", "InvalidSpec", "Unreachable", "AlarmUnknown"}


@dataclass
class Shell:
    """Follows the policies of one feed in one namespace. `bodies` are the policies as they were last seen, by key."""

    part: Part
    engine: Engine
    poll_seconds: float
    bodies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _said: dict[str, tuple[str, str]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def seen(self, event: Mapping[str, Any]) -> None:
        """A policy appeared, was changed or is gone."""
        body = event["object"]
        key, before = _key(body), self.bodies.get(_key(body))
        if event["type"] == "DELETED":
            self.bodies.pop(key, None)
            self._said.pop(key, None)
            self._forget(body)
            return
        self.bodies[key] = body
        if before is None or _wish(before) != _wish(body):
            self._changed.set()

    async def follow(self) -> None:
        """Looks at every policy until it is cancelled."""
        while True:
            self._changed.clear()
            looked = [await asyncio.to_thread(self._look, body) for body in list(self.bodies.values())]
            self.part.health.ready = all(looked)
            self.part.health.beat()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self.poll_seconds)

    def _look(self, body: Mapping[str, Any]) -> bool:
        """One look at a policy; False when it could not be finished."""
        try:
            policy = parse_policy(body)
        except PolicyError as error:
            self._show(body, None, {}, "InvalidSpec", str(error))
            return True
        if policy.spec.feed != self.part.feed.name:
            return True
        try:
            outcome = reconcile(self.engine, policy, _status(policy, body))
            metrics.decided(policy, outcome)
            status = outcome.status.model_dump(mode="json", by_alias=True)
            self._show(body, outcome, status, outcome.decision.reason, outcome.decision.message)
        except NoMinutes as error:
            self._show(body, None, {}, "NoMinutes", f"Waiting for the first minute: {error}.")
            return False
        except Exception as error:  # one policy's trouble must not end the others
            metrics.failed(policy)
            log.warning("a policy could not be looked at", extra={"policy": policy.name}, exc_info=True)
            with suppress(k8s.client.ApiException, OSError):
                self._show(body, None, {}, "Unreachable", f"{type(error).__name__}: {error}")
            return False
        return True

    def _show(
        self,
        body: Mapping[str, Any],
        outcome: Outcome[Any] | None,
        status: Mapping[str, Any],
        reason: str,
        message: str,
    ) -> None:
        """Writes the status where it has changed, and posts an event for each new decision."""
        before, now = body.get("status") or {}, datetime.fromtimestamp(self.part.clock.now(), UTC)
        generation = int(body["metadata"].get("generation", 0))
        known = before.get("conditions") or []
        wanted = {
            **status,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "conditions": conditions(known, generation, outcome, now, reason, message),
        }
        if changed := {key: value for key, value in wanted.items() if before.get(key) != value}:
            self._patch(body, changed)
        if self._said.get(_key(body)) != (reason, message) or (outcome and outcome.run):
            self._said[_key(body)] = (reason, message)
            self._post(body, reason, message)

    def _patch(self, body: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        kind, metadata = KINDS[body["kind"]], body["metadata"]
        try:
            patched = k8s.client.CustomObjectsApi().patch_namespaced_custom_object_status(
                GROUP, VERSION, metadata["namespace"], kind.plural, metadata["name"], {"status": status}
            )
        except k8s.client.ApiException as error:
            if error.status != 404:  # it was deleted meanwhile
                raise
            return
        if _key(body) in self.bodies:
            self.bodies[_key(body)] = {**self.bodies[_key(body)], "status": patched.get("status", {})}

    def _post(self, body: Mapping[str, Any], reason: str, message: str) -> None:
        metadata, now = body["metadata"], datetime.now(UTC)
        log.info("decided", extra={"policy": metadata["name"], "reason": reason, "said": message})
        involved = {"apiVersion": body["apiVersion"], "kind": body["kind"]}
        involved |= {key: metadata[key] for key in ("name", "namespace", "uid")}
        event = {
            "metadata": {"generateName": f"{metadata['name'][:50]}-", "namespace": metadata["namespace"]},
            "involvedObject": involved,
            "type": "Warning" if reason in _WARNINGS else "Normal",
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "loopcast-operator"},
            "firstTimestamp": now.isoformat(),
            "lastTimestamp": now.isoformat(),
            "count": 1,
        }
        try:
            k8s.client.CoreV1Api().create_namespaced_event(metadata["namespace"], event)
        except k8s.client.ApiException as error:
            log.warning("an event could not be posted", extra={"policy": metadata["name"], "error": error.reason})

    def _forget(self, body: Mapping[str, Any]) -> None:
        with suppress(PolicyError):
            policy = parse_policy(body)
            if policy.kind is RELEASE and policy.spec.feed == self.part.feed.name:
                self.engine.forget(policy.spec)


def _key(body: Mapping[str, Any]) -> str:
    metadata = body["metadata"]
    return f"{body['kind']}/{metadata['namespace']}/{metadata['name']}"


def _wish(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a look depends on: the specification, and the annotation that asks for a retraining."""
    metadata = body["metadata"]
    return metadata.get("uid"), metadata.get("generation"), (metadata.get("annotations") or {}).get(REQUEST)


def _status(policy: Policy, body: Mapping[str, Any]) -> Any:
    """The status as it was last written; a new one where it can't be read."""
    with suppress(ValueError):
        return policy.kind.status.model_validate(body.get("status") or {})
    return policy.kind.status()


def registry(shell: Shell) -> kopf.OperatorRegistry:
    """What kopf does: it watches both kinds, and runs the loop."""
    made, tasks = kopf.OperatorRegistry(), set[asyncio.Task[None]]()

    @kopf.on.login(registry=made)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**given)

    @kopf.on.startup(registry=made)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True  # else it asks for definitions and namespaces, which its role does not show
        settings.posting.enabled = False  # the shell posts events of its own: decisions, not log lines
        tasks.add(asyncio.create_task(shell.follow()))

    @kopf.on.cleanup(registry=made)
    async def stop(**_: Any) -> None:
        for task in tasks:
            task.cancel()

    for kind in KINDS.values():

        @kopf.on.event(GROUP, VERSION, kind.plural, registry=made, id=kind.plural)
        async def see(event: Any, **_: Any) -> None:
            await asyncio.to_thread(shell.seen, event) if event["type"] == "DELETED" else shell.seen(event)

    return made


def work(part: Part, settings: argparse.Namespace) -> None:
    """Follows the policies of a namespace until the part is told to stop."""
    configure_client()
    await_definitions(part, settings.namespace, settings.poll_interval)
    if part.stop.requested:
        return
    launcher = _jobs(part, settings) if settings.runs == "jobs" else _kfp(part, settings)
    owner = f"{os.environ.get('HOSTNAME') or os.uname().nodename}-{os.getpid()}"
    claims = ClaimTable(part.names.launches_table, owner, part.clock.now)
    shell = Shell(part, Engine(claims, launcher, AwsObserver(part.names, part.clock)), settings.poll_interval)
    kopf.run(registry=registry(shell), standalone=True, namespaces=[settings.namespace], stop_flag=part.stop.flag)


def await_definitions(part: Part, namespace: str, poll_seconds: float) -> None:
    """Waits until the policies' kinds are served: kopf, which may not look for definitions, never would come to know
    those that come after it."""
    for kind in KINDS.values():
        while not part.stop.requested and not _served(kind, namespace):
            log.info("waiting for the definition of a kind", extra={"kind": kind.name})
            part.health.beat()
            part.stop.wait(poll_seconds)


def _served(kind: Kind, namespace: str) -> bool:
    """False as well while the API server can't be asked; its answers are logged."""
    try:
        k8s.client.CustomObjectsApi().list_namespaced_custom_object(
            GROUP, VERSION, namespace, kind.plural, limit=1, _request_timeout=20
        )
    except (k8s.client.ApiException, urllib3.exceptions.HTTPError) as error:
        log.warning(
            "policies can't be listed", extra={"kind": kind.name, "error": getattr(error, "reason", str(error))}
        )
        return False
    return True


def _kfp(part: Part, settings: argparse.Namespace) -> Launcher:
    feed = Path(settings.feed).read_text(encoding="utf-8")
    return KfpLauncher(
        settings.kfp_url,
        feed,
        part.names.prefix,
        part.clock,
        settings.kfp_namespace,
        service_account=settings.kfp_service_account,
    )


def _jobs(part: Part, settings: argparse.Namespace) -> Launcher:
    """Exits with a sentence when the template can't be used, rather than at the first launch."""
    try:
        read_template(settings.job_template)
    except TemplateError as error:
        raise SystemExit(f"loopcast: {error}") from error
    owner = owner_of(settings.job_owner, settings.namespace) if settings.job_owner else None
    return JobLauncher(settings.job_template, settings.namespace, part.names, owner)


def configure_client() -> None:
    """In a pod as its service account; elsewhere as KUBECONFIG says. Exits with a sentence when there is neither."""
    try:
        k8s.config.load_incluster_config()
    except k8s.config.ConfigException:
        try:
            k8s.config.load_kube_config()
        except (k8s.config.ConfigException, OSError) as error:
            raise SystemExit(
                f"there is no cluster to be seen ({error}): set KUBECONFIG, or use --standalone"
            ) from error
