"""What every operation gets besides its request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from local.sagemaker.places import Place
from local.sagemaker.registry import SERVICES, Service
from local.sagemaker.store import Store
from loopcast import aws

KIND = TypeVar("KIND", bound=Service)


@dataclass(frozen=True)
class Settings:
    """`state` is the folder that holds everything; `step_seconds` is the least time a job spends in each state;
    `grace_seconds` lie between SIGTERM and SIGKILL of a stopped job."""

    state: Path
    images: Path
    step_seconds: float = 0.1
    grace_seconds: float = 120.0


@dataclass(frozen=True)
class Context:
    """The server's settings, its store, where its programs run, and the services that run in it."""

    settings: Settings
    store: Store
    place: Place
    _services: dict[type[Any], Service] = field(default_factory=dict)

    def service(self, kind: type[KIND]) -> KIND:
        """The running instance of a class registered with `registry.service`."""
        return cast(KIND, self._services[kind])

    def start(self) -> None:
        for kind in SERVICES:
            self._services[kind] = kind(self)
        for instance in self._services.values():
            instance.start()

    def stop(self) -> None:
        for instance in reversed(self._services.values()):
            instance.stop()
        self.store.close()

    @staticmethod
    def arn(kind: str, name: str) -> str:
        """`arn:aws:sagemaker:<region>:<account>:<kind>/<name>`."""
        return f"arn:aws:sagemaker:{aws.region()}:{aws.account()}:{kind}/{name}"


def now() -> float:
    """Seconds since the epoch, in whole milliseconds as the API's timestamps are."""
    return round(time.time(), 3)
