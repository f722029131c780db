"""Runs pipelines in Kubeflow Pipelines, through its REST API (v2beta1).

Runs have no labels there: a run's description carries why it was launched, by which trigger and for what.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from kfp_server_api.exceptions import ApiException

from loopcast.clock import Clock
from operators.launchers.base import LauncherUnreachable, LaunchFailed, Progress, Recurring
from operators.runs import Run, RunState

log = logging.getLogger(__name__)
TIMEOUT = (5, 20)
"""Seconds to connect, and to wait for an answer."""
ATTEMPTS = 3
SCHEDULED_TIME = "[[ScheduledTime]]"
"""What KFP replaces by the time for which a recurring run was scheduled, as 14 digits."""
_OVER = {
    "SUCCEEDED": RunState.SUCCEEDED,
    "FAILED": RunState.FAILED,
    "CANCELED": RunState.CANCELED,
    "SKIPPED": RunState.SKIPPED,
}
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": json.loads,
    "LIST": json.loads,
    "STRUCT": json.loads,
    "STRING": str,
}


@dataclass(frozen=True)
class KfpLauncher:
    """Pipelines named `<prefix>-<pipeline>` at the API server `host`, as runs of `experiment`, on the feed whose file's
    text is `feed`. The pods of runs have `service_account`, KFP's own where it is ''. `token` is a file with a bearer
    token, read anew for each call, if it exists."""

    host: str
    feed: str
    experiment: str
    clock: Clock
    namespace: str = ""
    prefix: str = "loopcast"
    service_account: str = ""
    token: Path = Path("/var/run/secrets/kubeflow/pipelines/token")
    _known: dict[str, str] = field(default_factory=dict, compare=False)

    def launch(self, run: Run) -> str:
        pipeline = self._pipeline(run.pipeline)
        version = self._version(pipeline)
        parameters = _parameters(version, {**run.arguments, "feed": self.feed, "run_id": run.id}, run.pipeline)
        wanted = kfp_server_api.V2beta1Run(
            display_name=run.id,
            description=_description(run),
            experiment_id=self._experiment,
            pipeline_version_reference=_reference(pipeline, version.pipeline_version_id),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=parameters),
            service_account=self.service_account or None,
        )
        return str(self._call(lambda: self._found(run.id) or self._runs.run_service_create_run(wanted).run_id))

    def progress(self, run: Run) -> Progress:
        handle = run.handle or self._call(lambda: self._found(run.id))
        found = self._call(lambda: self._runs.run_service_get_run(handle)) if handle else None
        if found is None:
            return Progress(RunState.FAILED, "Kubeflow Pipelines does not know the run any more.")
        state = _OVER.get(str(found.state), RunState.RUNNING)
        return Progress(state, _error(found) if state.failed else "")

    def cancel(self, run: Run) -> None:
        if handle := run.handle or self._call(lambda: self._found(run.id)):
            self._call(lambda: self._runs.run_service_terminate_run(handle))

    def digest(self, pipeline: str) -> str:
        try:
            version = self._version(self._pipeline(pipeline))
        except LaunchFailed:
            return ""
        return str(version.display_name or version.pipeline_version_id)

    def ensure_recurring(self, recurring: Recurring, now: datetime) -> bool:
        pipeline = self._pipeline(recurring.pipeline)
        version = self._version(pipeline)
        run_id = f"{recurring.name[-25:].lstrip('-')}-{SCHEDULED_TIME}"
        given = {**recurring.arguments, "feed": self.feed, "run_id": run_id}
        wanted = self._recurring_run(recurring, pipeline, _parameters(version, given, recurring.pipeline))
        found = self._recurring(recurring.name)
        same = [item for item in found if item.description == wanted.description]
        for extra in [item for item in found if item not in same[:1]]:
            self._delete(extra)
        if not same:
            self._call(lambda: self._recurring_runs.recurring_run_service_create_recurring_run(wanted))
        return not same

    def remove_recurring(self, name: str) -> bool:
        found = self._recurring(name)
        for item in found:
            self._delete(item)
        return bool(found)

    def _recurring_run(self, recurring: Recurring, pipeline: str, parameters: Mapping[str, Any]) -> Any:
        seconds = max(1, round(self.clock.wall(recurring.interval.total_seconds())))
        content = json.dumps([pipeline, seconds, parameters, self.service_account], sort_keys=True, default=str)
        return kfp_server_api.V2beta1RecurringRun(
            display_name=recurring.name,
            description=f"Kept by Loopcast's operator ({sha256(content.encode()).hexdigest()[:10]}).",
            experiment_id=self._experiment,
            pipeline_version_reference=_reference(pipeline),  # without a version: KFP takes the newest each time
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(parameters)),
            service_account=self.service_account or None,
            max_concurrency="1",
            no_catchup=True,
            mode="ENABLE",
            trigger=kfp_server_api.V2beta1Trigger(
                periodic_schedule=kfp_server_api.V2beta1PeriodicSchedule(interval_second=str(seconds))
            ),
        )

    def _recurring(self, name: str) -> list[Any]:
        answer = self._call(
            lambda: self._recurring_runs.recurring_run_service_list_recurring_runs(
                experiment_id=self._experiment, filter=_named(name), page_size=100, sort_by="created_at"
            )
        )
        return list((answer and answer.recurring_runs) or [])

    def _delete(self, item: Any) -> None:
        name = item.recurring_run_id
        self._call(lambda: self._recurring_runs.recurring_run_service_delete_recurring_run(name))

    def _found(self, name: str) -> str | None:
        """The id of the run of that name, if it was created."""
        answer = self._runs.run_service_list_runs(
            experiment_id=self._experiment, filter=_named(name), page_size=10, sort_by="created_at"
        )
        return next((str(run.run_id) for run in answer.runs or []), None)

    def _pipeline(self, pipeline: str) -> str:
        name = f"{self.prefix}-{pipeline}"
        if name not in self._known:
            space = {"namespace": self.namespace} if self.namespace else {}
            found = self._call(lambda: self._pipelines.pipeline_service_get_pipeline_by_name(name, **space))
            if found is None:
                raise LaunchFailed(f"Kubeflow Pipelines has no pipeline {name}: apply manifests/pipelines.")
            self._known[name] = str(found.pipeline_id)
        return self._known[name]

    def _version(self, pipeline: str) -> Any:
        """The pipeline's newest version."""
        answer = self._call(
            lambda: self._pipelines.pipeline_service_list_pipeline_versions(
                pipeline, page_size=1, sort_by="created_at desc"
            )
        )
        if answer is None or not answer.pipeline_versions:
            self._known.clear()  # it may have been made anew, under another id
            raise LaunchFailed("The pipeline has no version in Kubeflow Pipelines: apply manifests/pipelines.")
        return answer.pipeline_versions[0]

    @property
    def _experiment(self) -> str:
        if "" not in self._known:
            self._known[""] = self._call(self._make_experiment)
        return self._known[""]

    def _make_experiment(self) -> str:
        space = {"namespace": self.namespace} if self.namespace else {}
        listed = self._experiments.experiment_service_list_experiments(
            filter=_named(self.experiment), page_size=10, sort_by="created_at", **space
        )
        if listed.experiments:
            return str(listed.experiments[0].experiment_id)
        wanted = kfp_server_api.V2beta1Experiment(display_name=self.experiment, **space)
        return str(self._experiments.experiment_service_create_experiment(wanted).experiment_id)

    def _call(self, call: Callable[[], Any]) -> Any:
        """What `call` answers; None when there is no such thing. Tries again what may pass: whoever creates looks first
        whether an earlier try has done it."""
        self._authorize()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except ApiException as error:
                if error.status == 404:
                    return None
                if error.status < 500 and error.status != 429:
                    raise LaunchFailed(f"Kubeflow Pipelines refused it ({error.status}): {_said(error)}.") from error
                said = f"{error.status} {_said(error)}"
            except urllib3.exceptions.HTTPError as error:
                said = type(error).__name__
            if attempt < ATTEMPTS:
                time.sleep(random.uniform(0.1, 0.3) * 2**attempt)  # noqa: S311 - jitter, no secret
        raise LauncherUnreachable(f"Kubeflow Pipelines at {self.host} does not answer ({said}).")

    def _authorize(self) -> None:
        if self.token.is_file():
            token = self.token.read_text(encoding="utf-8").strip()
            self._client.set_default_header("Authorization", f"Bearer {token}")

    @cached_property
    def _client(self) -> Any:
        client = _Client(kfp_server_api.Configuration(host=self.host))
        client.rest_client.pool_manager.connection_pool_kw["retries"] = False
        return client

    @cached_property
    def _runs(self) -> Any:
        return kfp_server_api.RunServiceApi(self._client)

    @cached_property
    def _recurring_runs(self) -> Any:
        return kfp_server_api.RecurringRunServiceApi(self._client)

    @cached_property
    def _pipelines(self) -> Any:
        return kfp_server_api.PipelineServiceApi(self._client)

    @cached_property
    def _experiments(self) -> Any:
        return kfp_server_api.ExperimentServiceApi(self._client)


class _Client(kfp_server_api.ApiClient):  # type: ignore[misc]
    """Every call has a time-out."""

    def call_api(self, *arguments: Any, _request_timeout: Any = None, **named: Any) -> Any:
        return super().call_api(*arguments, _request_timeout=_request_timeout or TIMEOUT, **named)


def _reference(pipeline: str, version: str | None = None) -> Any:
    return kfp_server_api.V2beta1PipelineVersionReference(pipeline_id=pipeline, pipeline_version_id=version)


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _description(run: Run) -> str:
    known = {
        "policy": run.policy,
        "trigger": run.trigger,
        "claim": run.id,
        "at": run.launched_at.isoformat(),
        **run.tags,
    }
    labels = "\n".join(f"loopcast.io/{key}: {value}" for key, value in known.items() if value)
    return f"{run.reason}\n\n{labels}"


def _parameters(version: Any, given: Mapping[str, str], pipeline: str) -> dict[str, Any]:
    """The arguments as the pipeline's own types. Raises `LaunchFailed` for what it doesn't take."""
    spec = version.pipeline_spec or {}
    root = spec.get("pipeline_spec", spec).get("root", {})
    types = {name: known["parameterType"] for name, known in _inputs(root).items()}
    if unknown := sorted(set(given) - set(types)):
        raise LaunchFailed(f"The pipeline {pipeline} has no parameter {', '.join(unknown)}.")
    try:
        return {name: _PARSERS.get(types[name], str)(text) for name, text in given.items()}
    except ValueError as error:
        raise LaunchFailed(f"An argument of the pipeline {pipeline} has the wrong type: {error}.") from error


def _inputs(root: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs: Mapping[str, Any] = root.get("inputDefinitions", {}).get("parameters", {})
    return inputs


def _error(run: Any) -> str:
    said = [run.error, *[status.error for status in run.state_history or []]]
    return next((str(error.message) for error in said if error and error.message), "")


def _said(error: ApiException) -> str:
    try:
        body = json.loads(error.body or "{}")
        said = str(body.get("message") or body.get("error") or error.reason)
    except (ValueError, AttributeError):
        said = str(error.reason)
    return said.rstrip(".")
