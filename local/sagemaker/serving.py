"""A model that is served: the program that answers /ping and /invocations, for endpoints and transform jobs alike."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3

from local.sagemaker import programs, storage
from local.sagemaker.environment import common_environment
from local.sagemaker.images import Image
from local.sagemaker.models import Container
from local.sagemaker.programs import Program

INVOCATION_SECONDS = 60.0
_START_SECONDS = 300.0
_POLL_SECONDS = 0.05

_pool = urllib3.PoolManager(maxsize=32, retries=False)
_ports = threading.Lock()
_recent_ports: list[int] = []


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
    """The program that serves a model on `port` of this machine."""

    program: Program
    port: int

    def invoke(self, body: bytes, headers: Mapping[str, str], seconds: float = INVOCATION_SECONDS) -> Invocation:
        """POST /invocations. Raises `urllib3.exceptions.HTTPError` when no answer comes in time."""
        answer = _pool.request(
            "POST", f"http://127.0.0.1:{self.port}/invocations", body=body, headers=headers, timeout=seconds
        )
        return Invocation(answer.status, answer.data, {name.lower(): value for name, value in answer.headers.items()})

    def healthy(self) -> bool:
        """Whether /ping answers 200."""
        try:
            return bool(_pool.request("GET", f"http://127.0.0.1:{self.port}/ping", timeout=2.0).status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    def await_healthy(self, check: Callable[[], None], seconds: float | None) -> None:
        """Returns when the program is healthy; calls `check`, which may raise, now and then. Raises `NotServed`."""
        deadline = time.monotonic() + (seconds or _START_SECONDS)
        while not self.healthy():
            check()
            if self.program.wait(_POLL_SECONDS):
                code = programs.exit_code(self.program.folder)
                raise NotServed(f"the program ended with exit code {code}: {_tail(self.program.folder)}")
            if time.monotonic() > deadline:
                raise NotServed(f"/ping did not answer 200 in time: {_tail(self.program.folder)}")


def start_server(folder: Path, container: Container, image: Image, environment: Mapping[str, str]) -> Server:
    """Fetches the model and starts the program; it is not healthy yet. Raises `StorageError`."""
    base = programs.make_folder(folder)
    (base / "model").mkdir()
    if container.model_data and container.model_data.endswith("/"):
        storage.download({"S3Uri": container.model_data}, base / "model")
    elif container.model_data:
        storage.download_archive(container.model_data, base / "model")
    port = free_port()
    (folder / "port").write_text(str(port))
    variables = {
        **common_environment(image.python),
        "SM_MODEL_DIR": f"{programs.base_directory(folder)}/model",
        "SAGEMAKER_MULTI_MODEL": "false",
        "SAGEMAKER_SAFE_PORT_RANGE": f"{port}-{port}",
        **container.environment,
        **environment,
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    return Server(programs.start(folder, image.command("serve"), variables), port)


def adopt_server(program: Program) -> Server:
    """The server that an earlier process of ours started."""
    return Server(program, int((program.folder / "port").read_text()))


def free_port() -> int:
    """A port on which nothing listens, and that was not given a moment ago to a program that doesn't listen yet."""
    with _ports:
        while True:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = int(listener.getsockname()[1])
            if port not in _recent_ports:
                _recent_ports.append(port)
                del _recent_ports[:-100]
                return port


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace").strip()[-600:] if (folder / "log").exists() else ""
