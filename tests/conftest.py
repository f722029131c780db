"""A real local AWS, and a real local SageMaker beside it, for every test that asks for one."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

START_SECONDS = 60

# A shell ignores SIGINT in what it starts in the background, and children would inherit that: interrupts are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("loopcast", deadline=None)
settings.load_profile("loopcast")


@dataclass(frozen=True)
class Service:
    """A running server: its address, and the environment of programs that are to use it."""

    endpoint: str
    env: Mapping[str, str]


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`python -m local.aws` on a free port; this process's clients and those of programs with `.env` use it."""
    folder = tmp_path_factory.mktemp("aws")
    endpoint = f"http://127.0.0.1:{free_port()}"
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "LOOPCAST_ACCOUNT": "000000000000",
    }
    with environment(settings), running("local.aws", endpoint, folder, "--snapshot-interval", "3600"):
        yield Service(endpoint, dict(os.environ))


@pytest.fixture(scope="session")
def sagemaker(aws: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`python -m local.sagemaker` on a free port, beside `aws`."""
    folder = tmp_path_factory.mktemp("sagemaker")
    endpoint = f"http://127.0.0.1:{free_port()}"
    settings = {
        "AWS_ENDPOINT_URL_SAGEMAKER": endpoint,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": endpoint,
        "AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME": endpoint,
    }
    with environment(settings), running("local.sagemaker", endpoint, folder):
        yield Service(endpoint, dict(os.environ))


def free_port() -> int:
    """A port that nothing listens on and that no outgoing connection is given until it is used: the system takes
    those from 32768 on, and a Flink needs ten seconds before it binds."""
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = random.randrange(10_000, 20_000)
            listener.bind(("127.0.0.1", port))
            return port


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of this process, and makes it forget the clients and the account it knew before."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    _forget_clients()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _forget_clients()


@contextmanager
def running(module: str, endpoint: str, folder: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module` with its state in `folder`, once it answers; what it says lies in the folder's log."""
    command = [sys.executable, "-m", module, "--port", endpoint.rpartition(":")[2], "--state", str(folder / "state")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([*command, *flags], stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_up(process, f"{endpoint}/healthz", folder / "log")
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """SIGTERM to the program; then SIGKILL to whatever is left of its process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the program and its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} is not up:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _forget_clients() -> None:
    from loopcast import aws

    aws.client.cache_clear()
    aws.account.cache_clear()
