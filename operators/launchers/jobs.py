"""Runs pipelines as Kubernetes Jobs of the pipelines image, where there is no Kubeflow Pipelines.

The Jobs are all that is kept: a run's Job bears the run's id as its name, so that creating it is the claim, and tells
by its labels and annotations what it is and why. Those of a recurring pipeline say when it ran last.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import kubernetes as k8s
import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from loopcast import aws
from loopcast.names import Names
from operators.launchers import manifest, program, schedule
from operators.launchers.base import LauncherUnreachable, LaunchFailed, Progress, Recurring
from operators.launchers.manifest import BEGAN, CONTAINER, RECURRING, RUN_ID, Order, TemplateError
from operators.launchers.schedule import Latest, Step
from operators.models import iso
from operators.runs import Run, RunState

log = logging.getLogger(__name__)
TIMEOUT = (5, 20)
"""Seconds to connect, and to wait for an answer."""
KEPT = 3
"""How many finished Jobs of a recurring pipeline are kept."""
FEED = Path("/etc/loopcast/feed.yaml")
OUTPUT = Path("/tmp/run")  # noqa: S108 - an emptyDir of the pod
_STARTING = {"ContainerCreating", "PodInitializing"}


@dataclass(frozen=True)
class JobLauncher:
    """Pipelines on the feed of `names` as Jobs in `namespace`, made from the Job in the file `template`, which is read
    at each launch. `owner` is what the Jobs go with: an ownerReference. `feed` is the feed file in the pod, `compiled`
    the folder of compiled pipelines, `wall` the wall clock in seconds since 1970."""

    template: Path
    namespace: str
    names: Names
    owner: Mapping[str, Any] | None = None
    feed: Path = FEED
    compiled: Path = program.COMPILED
    wall: Callable[[], float] = time.time

    def launch(self, run: Run) -> str:
        arguments = program.arguments(run.pipeline, self.feed, run.id, OUTPUT, run.arguments)
        if not self._create(manifest.order(run, [*arguments, "--in-pod"])):
            known = self._job(run.id)
            if known is not None and _labels(known).get(RUN_ID) != manifest.label(run.id):
                raise LaunchFailed(f"There is a Job {run.id} already, which is no run.")
        return run.id

    def progress(self, run: Run) -> Progress:
        job = self._job(run.handle or run.id)
        if job is None:
            return Progress(RunState.FAILED, "Its Job was deleted.")
        if _condition(job, "Complete"):
            return Progress(RunState.SUCCEEDED, _decision(self._said(job)))
        if failed := _condition(job, "Failed"):
            return Progress(RunState.FAILED, program.last_line(self._said(job)) or _sentence(failed))
        return Progress(RunState.RUNNING, self._hindrance(job))

    def cancel(self, run: Run) -> None:
        job = self._job(run.handle or run.id)
        if job is not None and not _over(job):
            self._end(job, run.id)

    def digest(self, pipeline: str) -> str:
        return program.digest(self.compiled, pipeline)

    def ensure_recurring(self, recurring: Recurring, now: datetime) -> bool:
        jobs = self._recurring(recurring.name)
        newest = jobs[-1] if jobs else None
        step = schedule.next_step(_latest(newest) if newest else None, recurring.interval, now, self.wall())
        if newest and step is Step.END:
            self._end(newest, _labels(newest)[RUN_ID])
        if step is not Step.START:
            return False
        created = self._create(self._next(recurring, newest, now))
        for old in [job for job in jobs if _over(job)][: -(KEPT - 1)]:
            self._delete(_name(old), "Background")
        return created

    def remove_recurring(self, name: str) -> bool:
        over = [job for job in self._recurring(name) if _over(job)]
        for job in over:
            self._delete(_name(job), "Background")
        return bool(over)

    def _next(self, recurring: Recurring, newest: Mapping[str, Any] | None, now: datetime) -> Order:
        """The Job's name follows from the newest one's run, so that of two replicas one creates it."""
        run_id = schedule.run_id(recurring.name, now)
        before = sha256((_labels(newest)[RUN_ID] if newest else "").encode()).hexdigest()[:8]
        arguments = program.arguments(recurring.pipeline, self.feed, run_id, OUTPUT, recurring.arguments)
        why = f"{recurring.name} recurs."
        return Order(
            name=f"{schedule.short_name(recurring.name)}-{before}",
            run_id=run_id,
            arguments=[*arguments, "--in-pod"],
            pipeline=recurring.pipeline,
            labels={"recurring": recurring.name},
            annotations={"reason": why, "trigger": "Recurring", "event-time": iso(now)},
            recurs=True,
        )

    def _create(self, order: Order) -> bool:
        """False when there is a Job of that name. Raises `LaunchFailed`."""
        try:
            body = manifest.job(manifest.read_template(self.template), order, self.owner)
        except TemplateError as error:
            raise LaunchFailed(str(error)) from error
        try:
            self._call(self._batch.create_namespaced_job, self.namespace, body)
        except _Refused as error:
            if error.status == 409:
                return False
            raise LaunchFailed(f"Kubernetes refused the Job {order.name} ({error.status}): {error}.") from error
        log.info("started", extra={"pipeline": order.pipeline, "run_id": order.run_id, "job": order.name})
        return True

    def _end(self, job: Mapping[str, Any], run_id: str) -> None:
        """Marks the run as cancelled, so that its program stops the run's jobs when it is ended, and ends it."""
        self._mark(run_id)
        self._delete(_name(job), "Foreground")

    def _mark(self, run_id: str) -> None:
        try:
            aws.client("s3").put_object(Bucket=self.names.bucket, Key=self.names.cancelled_key(run_id), Body=b"")
        except (BotoCoreError, ClientError) as error:  # then its jobs end by their own limits
            log.warning("a cancelled run could not be marked", extra={"run_id": run_id, "error": str(error)})

    def _delete(self, name: str, propagation: str) -> None:
        self._ask(self._batch.delete_namespaced_job, name, self.namespace, propagation_policy=propagation)

    def _job(self, name: str) -> Any:
        """The Job; None when there is none."""
        return self._ask(self._batch.read_namespaced_job, name, self.namespace)

    def _recurring(self, name: str) -> list[Any]:
        """The Jobs of the recurring pipeline, oldest first."""
        wanted = f"{RECURRING}={manifest.label(name)}"
        found = self._ask(self._batch.list_namespaced_job, self.namespace, label_selector=wanted)
        return sorted(found["items"], key=lambda job: (job["metadata"]["creationTimestamp"], _name(job)))

    def _pod(self, job: Mapping[str, Any]) -> Any:
        """The Job's newest pod; None when there is none."""
        wanted = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
        found = self._ask(self._core.list_namespaced_pod, self.namespace, label_selector=wanted)
        return max(found["items"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    def _said(self, job: Mapping[str, Any]) -> str:
        """What the program of the Job's newest pod left behind."""
        state = _container(self._pod(job) or {}).get("state", {})
        return str(state.get("terminated", {}).get("message", ""))

    def _hindrance(self, job: Mapping[str, Any]) -> str:
        """What keeps the Job from running, if anything does."""
        pod = self._pod(job)
        if pod is None:
            return f"It has no pod: kubectl describe job {_name(job)} says why."
        waiting = _container(pod).get("state", {}).get("waiting", {})
        if waiting.get("reason", "ContainerCreating") not in _STARTING:
            return _sentence(waiting)
        scheduled = _condition(pod, "PodScheduled", "False")
        return _sentence(scheduled) if scheduled else ""

    def _ask(self, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """As `_call`; None when there is no such thing, and a refusal may pass."""
        try:
            return self._call(call, *given, **named)
        except _Refused as error:
            if error.status == 404:
                return None
            raise LauncherUnreachable(f"Kubernetes refuses an answer ({error.status}): {error}.") from error

    def _call(self, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """What the API server answers, as it is. Raises `_Refused`."""
        try:
            return json.loads(call(*given, _request_timeout=TIMEOUT, _preload_content=False, **named).data)
        except k8s.client.ApiException as error:
            if error.status in (401, 429) or not 400 <= error.status < 500:
                raise LauncherUnreachable(f"Kubernetes does not answer ({error.status}).") from error
            raise _Refused(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise LauncherUnreachable(f"Kubernetes can't be reached ({type(error).__name__}).") from error

    @cached_property
    def _batch(self) -> Any:
        return k8s.client.BatchV1Api()

    @cached_property
    def _core(self) -> Any:
        return k8s.client.CoreV1Api()


class _Refused(Exception):
    """The API server's refusal, in its own words."""

    def __init__(self, error: k8s.client.ApiException) -> None:
        self.status = int(error.status)
        said = str(error.reason)
        with suppress(ValueError, TypeError, AttributeError):
            said = str(json.loads(error.body).get("message") or said)
        super().__init__(said.rstrip("."))


def owner_of(deployment: str, namespace: str) -> dict[str, Any]:
    """The reference to the Deployment with which the Jobs go. Exits with a sentence when it can't be had."""
    try:
        found = k8s.client.AppsV1Api().read_namespaced_deployment(deployment, namespace, _request_timeout=TIMEOUT)
    except (k8s.client.ApiException, urllib3.exceptions.HTTPError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        raise SystemExit(f"loopcast: the Deployment {deployment} in {namespace} can't be looked at: {why}") from error
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "uid": found.metadata.uid}


def _name(job: Mapping[str, Any]) -> str:
    return str(job["metadata"]["name"])


def _labels(job: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = job["metadata"].get("labels", {})
    return labels


def _condition(body: Mapping[str, Any], name: str, status: str = "True") -> Mapping[str, Any]:
    known = body.get("status", {}).get("conditions", [])
    return next((item for item in known if (item["type"], item["status"]) == (name, status)), {})


def _over(job: Mapping[str, Any]) -> bool:
    return bool(_condition(job, "Complete") or _condition(job, "Failed"))


def _latest(job: Mapping[str, Any]) -> Latest:
    created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    began = datetime.fromisoformat(job["metadata"].get("annotations", {}).get(BEGAN) or created.isoformat())
    return Latest(began, created.timestamp(), _over(job))


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    known = pod.get("status", {}).get("containerStatuses", [])
    return next((item for item in known if item["name"] == CONTAINER), {})


def _decision(said: str) -> str:
    """What the run decided, from the JSON that its program leaves."""
    with suppress(ValueError, AttributeError):
        return str(json.loads(said).get("decision", ""))
    return ""


def _sentence(known: Mapping[str, Any]) -> str:
    return ": ".join(str(known[key]) for key in ("reason", "message") if known.get(key))
