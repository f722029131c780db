"""What the API server said a moment ago of this server's objects: one question a second, however many ask."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.kubernetes.client import Api, ApiError
from local.sagemaker.kubernetes.manifests import RUN, SERVER

Json = dict[str, Any]
LOOK_SECONDS = 0.2
_FRESH_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """Jobs and Deployments by their run, and each run's pods, as they were at `at`, a moment of the monotonic clock."""

    at: float = -1.0
    jobs: dict[str, Json] = field(default_factory=dict)
    deployments: dict[str, Json] = field(default_factory=dict)
    pods: dict[str, list[Json]] = field(default_factory=dict)


class View:
    """The objects with this server's label."""

    def __init__(self, api: Api, server: str) -> None:
        self._api, self._selector = api, f"{SERVER}={server}"
        self._lock = threading.Lock()
        self._seen = Seen()
        self._tried = -_FRESH_SECONDS

    def look(self) -> Seen:
        """What is there, at most a second old; older while the API server doesn't answer."""
        with self._lock:
            if time.monotonic() > self._tried + _FRESH_SECONDS:
                try:
                    self._seen = self.fetch()
                except ApiError as error:
                    log.warning("the cluster can't be seen", extra={"reason": str(error)})
                self._tried = time.monotonic()
            return self._seen

    def fetch(self) -> Seen:
        """What is there now. Raises `ApiError`."""
        at = time.monotonic()
        pods = defaultdict(list)
        for pod in self._api.list("pods", labelSelector=self._selector):
            pods[_run(pod)].append(pod)
        jobs, deployments = (
            {_run(item): item for item in self._api.list(kind, labelSelector=self._selector)}
            for kind in ("jobs", "deployments")
        )
        return Seen(at, jobs, deployments, dict(pods))


def within(seconds: float, look: Callable[[], bool]) -> bool:
    """Whether a look finds within `seconds` what it looks for."""
    deadline = time.monotonic() + seconds
    while not look():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(LOOK_SECONDS, left))
    return True


def _run(item: Json) -> str:
    return str(item["metadata"]["labels"].get(RUN, ""))
