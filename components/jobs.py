"""SageMaker jobs that a step started again adopts, and a bounded wait for them.

A job's name derives from the run, the step and the attempt. A step looks before it creates: it adopts its running or
finished job, and goes on to the next attempt past a failed or stopped one, because a name can't be used again. A step
that dies leaves its job running for its successor: only a cancelled run stops its jobs.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from components.algorithms import CANDIDATES, EMPIRICAL, ROLES
from components.run import Refused, Run
from loopcast import aws
from loopcast.clock import Clock

_log = logging.getLogger(__name__)
_LONGEST_NAME = 63
_ATTEMPTS = 5
_OVER = {"Failed", "Stopped"}
_ABSENT = re.compile(r"can't find|not find|not found|does not exist|doesn't exist", re.IGNORECASE)

TUNING_ROLES = ("current", "tuned")
"""The models that a tuning run compares: with the hyperparameters as they are, and with those that it found."""

STEPS = {
    "tuning": ("tune",),
    "training": tuple(f"train-{name}" for name in (*CANDIDATES, EMPIRICAL, *TUNING_ROLES)),
    "transform": tuple(f"backtest-{role}" for role in (*ROLES, *TUNING_ROLES)),
}
"""Every step of a run that has a job, by the job's kind; a tuning job's training jobs stop with it."""

_NOUNS = {"tuning": "hyper_parameter_tuning"}


@dataclass(frozen=True)
class Job:
    """A SageMaker job: `kind` is training, transform or tuning."""

    kind: str
    name: str

    def _call(self, verb: str, **request: Any) -> Any:
        noun = _NOUNS.get(self.kind, self.kind)
        return getattr(aws.client("sagemaker"), f"{verb}_{noun}_job")(**self.key, **request)

    @property
    def prefix(self) -> str:
        """What the API's fields of such a job begin with, for example TrainingJob."""
        return f"{_NOUNS.get(self.kind, self.kind).title().replace('_', '')}Job"

    @property
    def key(self) -> dict[str, str]:
        return {f"{self.prefix}Name": self.name}

    def create(self, request: Mapping[str, Any]) -> None:
        self._call("create", **request)

    def describe(self) -> dict[str, Any] | None:
        """What the API's Describe operation answers; None when there is no such job."""
        found: dict[str, Any] | None = absent_is_none(lambda: self._call("describe"))
        return found

    def status(self, description: Mapping[str, Any]) -> str:
        return str(description[f"{self.prefix}Status"])

    def stop(self) -> None:
        self._call("stop")


def absent_is_none(call: Callable[[], Any]) -> Any:
    """What `call` answers, or None when the service says that there is no such thing."""
    try:
        return call()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in {"ValidationException", "ResourceNotFound"} and _ABSENT.search(message):
            return None
        raise


def job_name(run: Run, kind: str, step: str, attempt: int) -> str:
    """At most 63 characters, and 32 for a tuning job; its own for each feed, run, step and attempt."""
    if kind == "tuning":  # so few that only the feed's name is told
        digest = hashlib.sha256(f"{run.names.prefix} {run.id} {step}".encode()).hexdigest()[:6]
        return f"{run.names.tuning_prefix}-{digest}-{attempt}"
    return short_name(f"{run.names.prefix}-{run.id}", f"-{step}-{attempt}", keep=run.names.prefix)


def short_name(head: str, tail: str = "", *, keep: str = "") -> str:
    """`head + tail`, or when that is over 63 characters the head's beginning, a hash of the head, and the tail.

    `keep`, with which the head begins, stays whole, since roles allow and `destroy` finds what begins with a feed's
    name: where there is no room for both, the tail is cut and hashed as well."""
    if len(head) + len(tail) <= _LONGEST_NAME:
        return head + tail
    room = _LONGEST_NAME - len(tail) - 9
    if room >= len(keep):
        return f"{head[:room].rstrip('-')}-{_digest(head)}{tail}"
    return f"{keep}-{_digest(head + tail)}{tail}"[:_LONGEST_NAME].rstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def start(run: Run, kind: str, step: str, request: Callable[[str], Mapping[str, Any]]) -> Job:
    """The step's job: adopted when it runs or has finished, else created as the next attempt.

    `request` makes the rest of the call from the job's name. Raises `Refused` after 5 failed attempts.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        job = Job(kind, job_name(run, kind, step, attempt))
        description = job.describe() or _create(job, request(job.name))
        if description is None:
            _log.info("started %s job %s", kind, job.name)
            return job
        if job.status(description) not in _OVER:
            _log.info("adopted %s job %s, which is %s", kind, job.name, job.status(description))
            return job
    raise Refused(f"The step {step} of run {run.id} failed {_ATTEMPTS} times: mend its cause and start another run.")


def _create(job: Job, request: Mapping[str, Any]) -> Any:
    """None once created; the description of the job of the same name when another process was faster."""
    try:
        job.create(request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUse":
            raise
        return job.describe()
    return None


def wait(jobs: Sequence[Job], poll_seconds: float, limit_seconds: float, clock: Clock) -> list[dict[str, Any]]:
    """The jobs' descriptions, in order, once all are over, whether they completed or not (`completed` tells).

    Raises `Refused` when `limit_seconds` have passed; the jobs go on, and the step started again waits on.
    """
    deadline = clock.monotonic() + limit_seconds
    over: dict[Job, dict[str, Any]] = {}
    while True:
        for job in jobs:
            if job not in over and (description := _over(job)) is not None:
                over[job] = description
        running = [job.name for job in jobs if job not in over]
        if not running:
            return [over[job] for job in jobs]
        if clock.monotonic() >= deadline:
            raise Refused(f"{running[0]} still runs after {limit_seconds:.0f} s: start the step again to wait on.")
        clock.sleep(poll_seconds)


def _over(job: Job) -> dict[str, Any] | None:
    description = job.describe()
    if description is None:
        raise Refused(f"{job.name} was deleted while its step waited for it.")
    status = job.status(description)
    if status != "Completed" and status not in _OVER:
        return None
    _log.info("%s job %s: %s", job.kind, job.name, status)
    return description


def completed(job: Job, description: Mapping[str, Any]) -> Mapping[str, Any]:
    """`description` when the job completed; raises `Refused` when it failed or was stopped."""
    status = job.status(description)
    if status != "Completed":
        reason = " ".join(str(description.get("FailureReason") or "no reason was given").split()).rstrip(".")
        raise Refused(f"The {job.kind} job {job.name} has {status.lower()}: {reason}.")
    return description


def stop_jobs(run: Run) -> list[str]:
    """Stops the jobs of a cancelled run and returns their names."""
    return [job.name for job in _running(run) if _stopped(job)]


def _running(run: Run) -> Iterator[Job]:
    for kind, steps in STEPS.items():
        for step in steps:
            for attempt in range(1, _ATTEMPTS + 1):
                job = Job(kind, job_name(run, kind, step, attempt))
                description = job.describe()
                if description is None:
                    break
                if job.status(description) == "InProgress":
                    yield job


def _stopped(job: Job) -> bool:
    try:
        job.stop()
    except ClientError as error:  # it ended between the look and the call
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        return False
    return True
