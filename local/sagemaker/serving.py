"""A model that is served: the program that answers /ping and /invocations, for endpoints and transform jobs alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import urllib3

from local.sagemaker import programs, storage
from local.sagemaker.environment import common_environment
from local.sagemaker.images import Image
from local.sagemaker.models import Container
from local.sagemaker.places import Place, Program, Task
from local.sagemaker.programs import free_port as free_port

INVOCATION_SECONDS = 60.0
_START_SECONDS = 300.0
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 30.0

_pool = urllib3.PoolManager(maxsize=32, retries=False)


class NotServed(Exception):
    """The program did not become healthy; the message says why, with the end of its log."""


@dataclass(frozen=True)
class Invocation:
    """What a program answered; header names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """The program that serves a model on `port` of `host`. Where its place starts it again by itself, it is asked again
    for `patience` seconds while nothing listens there, and once when the connection ends without an answer."""

    program: Program
    port: int
    host: str = "127.0.0.1"
    patience: float = 0.0
    _pause: ClassVar[float] = 0.25

    def invoke(self, body: bytes, headers: Mapping[str, str], seconds: float = INVOCATION_SECONDS) -> Invocation:
        """POST /invocations. Raises `urllib3.exceptions.HTTPError` when no answer comes in time."""
        deadline = time.monotonic() + self.patience
        broken = 0
        while True:
            try:
                return self._invoke(body, headers, seconds)
            except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProtocolError) as error:
                broken += isinstance(error, urllib3.exceptions.ProtocolError)
                if time.monotonic() >= deadline or broken > 1:
                    raise
                time.sleep(self._pause)

    def _invoke(self, body: bytes, headers: Mapping[str, str], seconds: float) -> Invocation:
        answer = _pool.request("POST", f"{self._url}/invocations", body=body, headers=headers, timeout=seconds)
        return Invocation(answer.status, answer.data, {name.lower(): value for name, value in answer.headers.items()})

    @property
    def _url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def healthy(self) -> bool:
        """Whether /ping answers 200."""
        try:
            return bool(_pool.request("GET", f"{self._url}/ping", timeout=2.0).status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    def await_healthy(self, check: Callable[[], None], seconds: float | None) -> None:
        """Returns when the program is healthy; calls `check`, which may raise, now and then. Raises `NotServed`."""
        deadline = time.monotonic() + (seconds or _START_SECONDS)
        while not self.healthy():
            check()
            if self.program.wait(_POLL_SECONDS) or self.program.has_failed:
                code = programs.exit_code(self.program.folder)
                reason = self.program.reason or f"the program ended with exit code {code}"
                raise NotServed(f"{reason}: {_tail(self.program.folder)}")
            if time.monotonic() > deadline:
                reason = self.program.waiting or "/ping did not answer 200 in time"
                raise NotServed(f"{reason}: {_tail(self.program.folder)}")


def start_server(
    place: Place,
    folder: Path,
    container: Container,
    image: Image,
    environment: Mapping[str, str],
    *,
    instance: str = "",
    count: int = 1,
    patience: float = _PATIENCE_SECONDS,
) -> Server:
    """Fetches the model and starts the program; it is not healthy yet. `patience` is for a place that starts it again
    by itself. Raises `StorageError`, `UnknownImage`."""
    base = programs.make_folder(folder)
    (base / "model").mkdir()
    if container.model_data and container.model_data.endswith("/"):
        storage.download({"S3Uri": container.model_data}, base / "model")
    elif container.model_data:
        storage.download_archive(container.model_data, base / "model")
    port = place.port()
    (folder / "port").write_text(str(port))
    variables = {
        **common_environment(image.python),
        "SM_MODEL_DIR": f"{place.base_directory(folder)}/model",
        "SAGEMAKER_MULTI_MODEL": "false",
        "SAGEMAKER_SAFE_PORT_RANGE": f"{port}-{port}",
        **container.environment,
        **environment,
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    task = Task(folder, image, ["serve"], variables, instance=instance, count=count)
    return _server(place, place.serve(task, port), port, patience)


def adopt_server(place: Place, program: Program) -> Server:
    """The server that an earlier process of ours started."""
    return _server(place, program, int((program.folder / "port").read_text()))


def _server(place: Place, program: Program, port: int, patience: float = _PATIENCE_SECONDS) -> Server:
    return Server(program, port, place.address(program), patience if place.tends else 0.0)


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace").strip()[-600:] if (folder / "log").exists() else ""
