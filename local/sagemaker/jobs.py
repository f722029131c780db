"""What training, processing and transform jobs have in common: each is run by a thread, from wherever it stands.

A job's state lies in the store. A server that starts takes up every job that has not ended: a program that still runs,
or has ended meanwhile, is adopted; one that vanished without a result is run again, once.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from local.sagemaker import programs
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ResourceInUse, ValidationException
from local.sagemaker.images import UnknownImage
from local.sagemaker.logs import LogShipper
from local.sagemaker.places import Program
from local.sagemaker.registry import Json, service
from local.sagemaker.resources import Kind, create
from local.sagemaker.storage import StorageError
from local.sagemaker.store import Resource

ENDED = ("Completed", "Failed", "Stopped")
MOST_ATTEMPTS = 2
_DAY = 86_400
_CLOSING_SECONDS = 3.0
_LOG_SECONDS = 1.0

log = logging.getLogger(__name__)


class JobFailed(Exception):
    """The job has failed; the message is its FailureReason."""


class JobStopped(Exception):
    """The job was asked to stop, and its program has ended. `timed_out`: it ran longer than it may."""

    def __init__(self, *, timed_out: bool = False) -> None:
        super().__init__("the job was stopped")
        self.timed_out = timed_out


class Closing(Exception):
    """The server stops: the job goes on when it starts again."""


class Job(ABC):
    """The run of one job of a kind. Subclasses say what happens in `perform`."""

    kind: ClassVar[Kind]
    log_group: ClassVar[str]
    started_field: ClassVar[str]
    ended_field: ClassVar[str]

    def __init__(self, context: Context, name: str, closing: threading.Event, adoptable: Program | None) -> None:
        self.context = context
        self.name = name
        self.stopping = threading.Event()
        self._closing = closing
        self.adoptable = adoptable

    @classmethod
    def folder_of(cls, context: Context, name: str) -> Path:
        return context.settings.state / cls.kind.arn / name

    @classmethod
    def remove_folder(cls, context: Context, name: str) -> None:
        shutil.rmtree(cls.folder_of(context, name), ignore_errors=True)

    @property
    def folder(self) -> Path:
        return self.folder_of(self.context, self.name)

    @property
    def base(self) -> Path:
        """What the program sees as /opt/ml."""
        return self.folder / "opt" / "ml"

    @property
    def resource(self) -> Resource:
        return self.kind.find(self.context, self.name)

    @property
    def document(self) -> Json:
        return self.resource.document

    @abstractmethod
    def perform(self) -> None:
        """Does the work, or the rest of it. Raises `JobFailed`, `JobStopped` or `Closing`."""

    def run(self) -> None:
        """Does the work and writes down how it ended; doesn't raise."""
        try:
            self.perform()
        except Closing:
            return
        except JobStopped as stopped:
            self.end("Stopped", "MaxRuntimeExceeded" if stopped.timed_out else "Stopped")
        except (JobFailed, StorageError, UnknownImage) as error:
            reason = str(error) if isinstance(error, JobFailed) else f"ClientError: {error}"
            self.end("Failed", FailureReason=reason[:1024])
        except Exception as error:
            log.exception("a job failed within SageMaker", extra={"job": self.name})
            self.end("Failed", FailureReason=f"InternalServerError: {error!r}"[:1024])
        else:
            self.end("Completed")

    def change(self, function: Callable[[Resource], None]) -> None:
        self.context.store.change(self.kind.arn, self.name, function)

    def set(self, **fields: Any) -> None:
        """Sets fields of what Describe answers."""
        self.change(lambda resource: resource.document.update(fields))

    def end(self, status: str, secondary: str | None = None, **fields: Any) -> None:
        """The last change of the job."""
        moment = now()
        fields = {f"{self.kind.prefix}Status": status, self.ended_field: moment, "LastModifiedTime": moment, **fields}
        self.change(lambda resource: self._write_end(resource, secondary or status, fields))
        shutil.rmtree(self.folder / "opt", ignore_errors=True)  # the log remains

    def _write_end(self, resource: Resource, secondary: str, fields: Json) -> None:
        resource.document.update(fields)

    def step(self, seconds: float | None = None) -> None:
        """Stays in a state for its least time. Raises `JobStopped` or `Closing`."""
        deadline = time.monotonic() + (self.context.settings.step_seconds if seconds is None else seconds)
        self.check()
        while time.monotonic() < deadline:
            self._closing.wait(min(0.05, max(0.0, deadline - time.monotonic())))
            self.check()

    def check(self) -> None:
        """Raises `JobStopped` or `Closing` when the job is to go on no more."""
        if self._closing.is_set():
            raise Closing
        if self.stopping.is_set():
            raise JobStopped

    def closing(self, seconds: float) -> bool:
        """Waits so long at most; whether the server stops."""
        return self._closing.wait(seconds)

    def program(self, launch: Callable[[], Program]) -> Program | None:
        """The job's program: the one that was started before, else what `launch` starts; None when it has ended
        already. Raises `JobFailed` when it has vanished too often."""
        if self.adoptable is not None:
            return self.adoptable
        if programs.exit_code(self.folder) is not None:
            return None
        attempts = self.resource.notes.get("attempts", 0)
        if attempts >= MOST_ATTEMPTS:
            raise JobFailed(f"InternalServerError: the job's program vanished {attempts} times without a result")
        program = launch()
        self.change(lambda resource: resource.notes.update(attempts=attempts + 1))
        return program

    def wait(self, program: Program | None) -> int:
        """Waits until the program ends, sends its log away meanwhile; its exit code. Raises `JobStopped` when it had
        to be stopped, `Closing` when the server stops."""
        shippers = [LogShipper(path, self.log_group, f"{self.name}/{host}") for path, host in self.logs()]
        try:
            if program is not None:
                self._watch(program, shippers)
        finally:
            _ship(shippers)
        code = programs.exit_code(self.folder)
        if code is None and program is not None and program.reason:
            raise JobFailed(f"InternalServerError: {program.reason}")
        return 137 if code is None else code  # without a code, the program was killed

    def logs(self) -> list[tuple[Path, str]]:
        """The logs of the job's programs, with the host of each."""
        return [(self.folder / "log", "algo-1")]

    def tell(self, waiting: str) -> None:
        """Says why the program doesn't run yet; empty when it does."""
        log.info("a program waits" if waiting else "a program runs", extra={"job": self.name, "reason": waiting})

    def _watch(self, program: Program, shippers: Sequence[LogShipper]) -> None:
        allowed = self.document.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY)
        shipped = time.monotonic()
        told = ""
        while not program.wait(0.1):
            if self._closing.is_set():
                self._leave(program)
            if program.waiting != told:
                told = program.waiting
                self.tell(told)
            if self.stopping.is_set() or time.time() > program.began + allowed:
                program.stop(self.context.settings.grace_seconds)
                raise JobStopped(timed_out=not self.stopping.is_set())
            if time.monotonic() > shipped + _LOG_SECONDS:
                _ship(shippers)
                shipped = time.monotonic()

    def _leave(self, program: Program) -> None:
        """Stops the program because the server stops: the job begins anew with the next server. Where programs are
        tended it goes on, and the next server with it."""
        if self.context.place.tends:
            raise Closing
        program.stop(_CLOSING_SECONDS)
        (self.folder / "exit_code").unlink(missing_ok=True)
        self.change(lambda resource: resource.notes.update(attempts=0))
        raise Closing


def _ship(shippers: Sequence[LogShipper]) -> None:
    for shipper in shippers:
        shipper.ship()


JOBS: list[type[Job]] = []


@service
class Runner:
    """The threads of all jobs that have not ended."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._closing = threading.Event()
        self._running: dict[tuple[str, str], tuple[Job, threading.Thread]] = {}

    def start(self) -> None:
        adoptable = self._context.place.running()
        for kind in JOBS:
            for resource in self._context.store.all(kind.kind.arn):
                if resource.document[f"{kind.kind.prefix}Status"] not in ENDED:
                    self.run(kind, resource.name, adoptable.get(kind.folder_of(self._context, resource.name)))
                    if resource.document[f"{kind.kind.prefix}Status"] == "Stopping":
                        self._running[kind.kind.arn, resource.name][0].stopping.set()

    def stop(self) -> None:
        self._closing.set()
        for _, thread in list(self._running.values()):
            thread.join(_CLOSING_SECONDS + 2)

    def run(self, kind: type[Job], name: str, adoptable: Program | None = None) -> None:
        """Runs the job in a thread of its own."""
        job = kind(self._context, name, self._closing, adoptable)
        thread = threading.Thread(target=self._run, args=(job,), name=f"{kind.kind.arn}/{name}", daemon=True)
        self._running[kind.kind.arn, name] = job, thread
        thread.start()

    def ask_to_stop(self, kind: type[Job], name: str) -> None:
        """Returns at once; the job's state says when it has stopped."""
        running = self._running.get((kind.kind.arn, name))
        if running is not None:
            running[0].stopping.set()

    def _run(self, job: Job) -> None:
        job.run()
        self._running.pop((job.kind.arn, job.name), None)


def create_job(context: Context, job: type[Job], request: Json, document: Json) -> Json:
    """Stores a new job and starts it; answers with its ARN. Raises `ResourceInUse` when the name is taken."""
    moment = now()
    status = {f"{job.kind.prefix}Status": "InProgress", "CreationTime": moment, "LastModifiedTime": moment}
    answer = create(context, job.kind, request, {**status, **document}, error=ResourceInUse)
    context.service(Runner).run(job, request[f"{job.kind.prefix}Name"])
    return answer


def stop_job(context: Context, job: type[Job], request: Json) -> Json:
    """The answer of a Stop operation. Raises `ValidationException` when there is no such job or it has ended."""
    name, status = request[f"{job.kind.prefix}Name"], f"{job.kind.prefix}Status"
    found = job.kind.find(context, name)
    if found.document[status] in ENDED:
        words = job.kind.arn.replace("-", " ")
        raise ValidationException(
            f"The request was rejected because the {words} is in status {found.document[status]}."
        )
    context.store.change(job.kind.arn, name, lambda resource: _set_stopping(resource, status))
    context.service(Runner).ask_to_stop(job, name)
    return {}


def delete_job(context: Context, job: type[Job], request: Json) -> Json:
    """The answer of a Delete operation. Raises `ValidationException` when there is no such job or it runs."""
    found = job.kind.find(context, request[f"{job.kind.prefix}Name"])
    if found.document[f"{job.kind.prefix}Status"] not in ENDED:
        words = job.kind.arn.replace("-", " ")
        raise ValidationException(f"A {words} can be deleted only when it has ended: stop it first.")
    job.kind.delete(context, found.name)
    job.remove_folder(context, found.name)
    return {}


def _set_stopping(resource: Resource, status: str) -> None:
    if resource.document[status] not in ENDED:
        resource.document.update({status: "Stopping", "LastModifiedTime": now()})
