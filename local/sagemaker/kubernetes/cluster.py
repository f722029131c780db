"""Programs in pods: the other place where this server's programs may run."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute

from local.sagemaker import hosts, programs
from local.sagemaker.images import UnknownImage
from local.sagemaker.kubernetes import manifests, work
from local.sagemaker.kubernetes.client import Api, ApiError
from local.sagemaker.kubernetes.jobs import HostsProgram, JobProgram
from local.sagemaker.kubernetes.manifests import PORT, Run
from local.sagemaker.kubernetes.servers import DeploymentProgram
from local.sagemaker.kubernetes.settings import PodSettings
from local.sagemaker.kubernetes.view import View
from local.sagemaker.places import Program, Task

Json = dict[str, Any]
_ADDRESS = "address"
_KINDS = ("statefulset", "deployment")
_HANDED_ON = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LOOPCAST_ACCOUNT", "LOOPCAST_SPEED")

log = logging.getLogger(__name__)


class Cluster:
    """A namespace of a Kubernetes cluster: programs are Jobs and Deployments of this server, whose name is `server`.

    Each start of a program is a run. Its name lies in the program's folder before its objects are made, so that a
    server that was killed in between finds those that count, and deletes others.
    """

    tends = True
    interface = "eth0"

    def __init__(
        self, api: Api, state: Path, settings: PodSettings, server: str, work_url: str, owner: str | None = None
    ) -> None:
        """Raises `ApiError` when the cluster can't be used."""
        self._api, self._state, self._settings = api, state, settings
        self._server, self._work_url = server, work_url
        self._owner = None if owner is None else _owner(api, owner)
        self._view = View(api, server)
        self._view.fetch()  # to say at once what may be missing
        self._work = work.Work(api, self._view, state)

    def base_directory(self, folder: Path) -> str:
        return programs.BASE

    def refusal(self, count: int) -> str | None:
        return None

    def start(self, task: Task) -> Program:
        if len(task.names) == 1:
            run = self._run(task, task.folder)
            self._api.create("jobs", manifests.job(run, self._settings, self._api.namespace))
            return self._job(task.folder, run.run, run.name)
        return self._start_hosts(task)

    def port(self) -> int:
        return PORT

    def serve(self, task: Task, port: int) -> Program:
        run = self._run(task, task.folder)
        made = self._api.create("deployments", manifests.deployment(run, self._settings, self._api.namespace))
        service = self._api.create("services", manifests.service(run, self._settings, made))
        (task.folder / _ADDRESS).write_text(service["spec"]["clusterIP"])
        return self._deployment(task.folder, run.run, run.name)

    def address(self, program: Program) -> str:
        return (program.folder / _ADDRESS).read_text()

    def running(self) -> Mapping[Path, Program]:
        """The programs that this server's objects in the cluster stand for; objects that stand for none are deleted."""
        seen = self._view.fetch()
        found: dict[Path, Program] = {}
        for run, job in seen.jobs.items():
            folder = self._folder_of(job)
            is_host = folder.parent.name == "hosts"
            over = programs.exit_code(folder.parents[1] if is_host else folder) is not None
            if not over and self._counts("jobs", job, folder, run):
                found[folder] = self._job(folder, run, job["metadata"]["name"])
        for run, deployment in seen.deployments.items():
            folder = self._folder_of(deployment)
            if self._counts("deployments", deployment, folder, run):
                found[folder] = self._deployment(folder, run, deployment["metadata"]["name"])
        return self._grouped(found)

    def routes(self) -> Sequence[BaseRoute]:
        return self._work.routes()

    def _start_hosts(self, task: Task) -> Program:
        group = f"hosts-{secrets.token_hex(5)}"
        started: dict[str, JobProgram] = {}
        for name in task.names:
            run = self._host(task, name, group)
            made = self._api.create("jobs", manifests.job(run, self._settings, self._api.namespace))
            if not started:
                self._api.create("services", manifests.group_service(run, self._settings, made))
            started[name] = self._job(hosts.folder_of(task.folder, name), run.run, run.name)
        return HostsProgram(task.folder, started)

    def _host(self, task: Task, name: str, group: str) -> Run:
        variables = {"SM_CURRENT_HOST": name, "SM_HOSTS": json.dumps(list(task.names))}
        return self._run(
            task, hosts.folder_of(task.folder, name), variables, host=name, peers=tuple(task.names), group=group
        )

    def _run(
        self,
        task: Task,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        *,
        host: str = "",
        peers: tuple[str, ...] = (),
        group: str = "",
    ) -> Run:
        """What is to run, with its name and its token in its folder. Raises `UnknownImage` for a program that no
        container is."""
        if task.image.container is None:
            raise UnknownImage(f"a program of a machine stands for the image {task.image.uri}, which no pod can run")
        run, token = secrets.token_hex(5), secrets.token_urlsafe(24)
        _write_secret(folder / work.TOKEN, token)
        (folder / work.RUN).write_text(run)
        (folder / "log").touch()  # of a program that says nothing too
        place = folder.relative_to(self._state).as_posix()
        return Run(
            folder=place,
            run=run,
            server=self._server,
            image=task.image.container,
            environment=self._environment(task, variables or {}),
            work_url=work.url_of(self._work_url, place),
            token=token,
            entrypoint=tuple(task.entrypoint or task.image.own),
            arguments=tuple(task.arguments),
            instance=task.instance,
            count=task.count,
            host=host,
            peers=peers,
            group=group,
            owner=self._owner,
        )

    def _environment(self, task: Task, variables: Mapping[str, str]) -> dict[str, str]:
        """The program's variables, on top of what this server's own say of where AWS is."""
        own = {
            name: value
            for name, value in os.environ.items()
            if name in _HANDED_ON or name.startswith("AWS_ENDPOINT_URL")
        }
        return {
            **own,
            "PYTHONUNBUFFERED": "1",
            **self._settings.environment,
            **task.image.environment,
            **task.environment,
            **variables,
            "SAGEMAKER_BASE_DIR": programs.BASE,
        }

    def _job(self, folder: Path, run: str, name: str) -> JobProgram:
        return JobProgram(self._api, self._view, folder, run, name, self._settings.waiting_seconds)

    def _deployment(self, folder: Path, run: str, name: str) -> DeploymentProgram:
        return DeploymentProgram(self._api, self._view, folder, run, name, self._settings.waiting_seconds)

    def _folder_of(self, item: Json) -> Path:
        folder: str = item["metadata"]["annotations"][manifests.FOLDER]
        return self._state / folder

    def _counts(self, kind: str, item: Json, folder: Path, run: str) -> bool:
        """Whether the object is its folder's last run; others are deleted."""
        try:
            if (folder / work.RUN).read_text() == run:
                return True
        except OSError:
            pass
        name = item["metadata"]["name"]
        log.warning("a stray is deleted", extra={"kind": kind, "object": name})
        self._api.delete(kind, name)
        return False

    def _grouped(self, found: dict[Path, Program]) -> dict[Path, Program]:
        """With the hosts of each job as one program."""
        jobs: dict[Path, Program] = {}
        for folder, program in found.items():
            job = folder.parents[1]
            if folder.parent.name != "hosts":
                jobs[folder] = program
            elif job not in jobs:
                names = sorted(path.parent.name for path in (job / "hosts").glob(f"*/{work.RUN}"))
                jobs[job] = HostsProgram(job, {n: self._again(job, n) for n in names})
        return jobs

    def _again(self, job: Path, name: str) -> JobProgram:
        """A host that was started, whether its Job is still there or not."""
        folder = hosts.folder_of(job, name)
        run = (folder / work.RUN).read_text()
        place = folder.relative_to(self._state).as_posix()
        return self._job(folder, run, manifests.name_of(place, run))


def _owner(api: Api, owner: str) -> Json:
    """A reference to the object `kind/name`, which is deleted with what it owns. Raises `ApiError`."""
    kind, _, name = owner.partition("/")
    if kind.lower() not in _KINDS or not name:
        raise ApiError(f"--owner is statefulset/NAME or deployment/NAME, not {owner!r}")
    return api.get(f"{kind.lower()}s", name)


def _write_secret(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)
