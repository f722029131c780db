"""Runs the forecasters as SageMaker does: programs of their own environment over a base folder, and a server."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import free_port, kill, stop

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "forecasters" / "bin" / "python"
START_SECONDS = 120
JSON_LINES = {"content-type": "application/jsonlines"}


@dataclass(frozen=True)
class Job:
    """One training job or endpoint of `module` over the base folder `base`."""

    module: str
    base: Path

    def channel(self, name: str, *series: Mapping[str, Any], file: str = "series.json") -> None:
        self.write(name, file, "".join(json.dumps(one) + "\n" for one in series))

    def write(self, channel: str, file: str, text: str) -> None:
        path = self.base / "input" / "data" / channel / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())

    def train(self, **hyperparameters: object) -> subprocess.CompletedProcess[str]:
        """Trains with `hyperparameters`, as text like SageMaker's; what it prints is in the answer."""
        config = self.base / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(
            json.dumps({name: str(value) for name, value in hyperparameters.items()})
        )
        return subprocess.run(
            self._command("train"), env=self._environment(), capture_output=True, text=True, timeout=240
        )

    @property
    def failure(self) -> str:
        return (self.base / "output" / "failure").read_text()

    @property
    def manifest(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.base / "model" / "manifest.json").read_text())
        return document

    @contextmanager
    def serving(self, **environment: str) -> Iterator[Endpoint]:
        port = free_port()
        settings = self._environment() | {"SAGEMAKER_BIND_TO_PORT": str(port)} | environment
        log = self.base / "serve.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command("serve"), env=settings, stdout=output, stderr=output, start_new_session=True
            )
        try:
            endpoint = Endpoint(f"http://127.0.0.1:{port}", process)
            endpoint.wait(log)
            yield endpoint
        finally:
            stop(process)
            kill(process)

    def _command(self, command: str) -> list[str]:
        return [str(PYTHON), "-W", "error", "-m", self.module, command]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"SAGEMAKER_BASE_DIR": str(self.base)}


@dataclass(frozen=True)
class Endpoint:
    url: str
    process: subprocess.Popen[bytes]

    def wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._pings():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the endpoint is not up:\n{log.read_text()}")
            time.sleep(0.05)

    def _pings(self) -> bool:
        try:
            return requests.get(f"{self.url}/ping", timeout=2).ok
        except requests.ConnectionError:
            return False

    def post(self, body: object, **headers: str) -> requests.Response:
        return requests.post(f"{self.url}/invocations", json=body, headers=headers, timeout=60)

    def post_lines(self, lines: Sequence[object]) -> requests.Response:
        body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        return requests.post(f"{self.url}/invocations", data=body.encode(), headers=JSON_LINES, timeout=60)

    def predictions(self, *instances: Mapping[str, Any], **configuration: object) -> list[dict[str, Any]]:
        answer = self.post({"instances": list(instances), "configuration": configuration})
        assert answer.status_code == 200, answer.text
        predictions: list[dict[str, Any]] = answer.json()["predictions"]
        return predictions


def series(target: Sequence[object], start: str = "2025-03-05 00:00:00", **more: object) -> dict[str, Any]:
    return {"start": start, "target": list(target), **more}


@pytest.fixture
def empirical(tmp_path: Path) -> Job:
    return Job("forecasters.empirical", tmp_path)


@pytest.fixture
def deepar(tmp_path: Path) -> Job:
    return Job("forecasters.deepar", tmp_path)


@pytest.fixture
def boosted(tmp_path: Path) -> Job:
    return Job("forecasters.boosted", tmp_path)
