"""Runs SageMaker jobs at the same time, so that one that is refused or fails does not hold up the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.jobs import Job, completed, wait
from components.run import Refused
from loopcast.clock import Clock

_log = logging.getLogger(__name__)


def run_together(
    starts: Mapping[str, Callable[[], Job]], poll_seconds: float, limit_seconds: float
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """The descriptions of the jobs that completed, by name, and why others did not, a sentence each.

    Raises `Refused` when one still runs after `limit_seconds`, and what AWS answers that is no word on one request.
    """
    jobs, failed = {}, {}
    for name, start in starts.items():
        try:
            jobs[name] = _started(start)
        except Refused as error:
            failed[name] = str(error)
    done = {}
    for (name, job), description in zip(
        jobs.items(), wait(list(jobs.values()), poll_seconds, limit_seconds, Clock()), strict=True
    ):
        try:
            done[name] = completed(job, description)
        except Refused as error:
            failed[name] = str(error)
    for name, reason in failed.items():
        _log.warning("%s is out of the run: %s", name, reason)
    return done, failed


def _started(start: Callable[[], Job]) -> Job:
    try:
        return start()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        raise Refused(f"SageMaker refused the job: {error.response['Error']['Message']}") from error
