"""Trains and asks models by the programs behind their images, under SageMaker's container contract and without its API.

A model is a folder: what its training saw and left lies below `opt/ml`, as the program sees it.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from local.sagemaker import programs
from local.sagemaker.environment import common_environment, training_environment
from local.sagemaker.images import Image, find_image
from local.sagemaker.programs import Program
from local.sagemaker.serving import Server, free_port
from loopcast.forecast import INFERENCE_CONFIG

IMAGES = Path(programs.__file__).with_name("images.yaml")
TRAIN_SECONDS = 1800.0
ANSWER_SECONDS = 900.0
_POLL_SECONDS = 0.2


class Cancelled(Exception):
    """The simulation is ending: nothing is started any more."""


class ProgramFailed(RuntimeError):
    """A program did not do its job; the message says why."""


class Containers:
    """The programs of one simulation, in folders below `folder`; `close` ends those that run. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[Path, Program] = {}
        self._lock = threading.Lock()
        self._closed = False

    def train(self, image_uri: str, hyperparameters: Mapping[str, str], channels: Mapping[str, str]) -> Path:
        """The folder of the model that the image's program made of `channels`, JSON Lines by channel name.

        Raises `ProgramFailed`, `Cancelled`.
        """
        image = find_image(IMAGES, image_uri)
        folder = self._folder / uuid4().hex
        base = programs.make_folder(folder)
        for channel, text in channels.items():
            _write(base / "input" / "data" / channel / "series.jsonl", text)
        _write(base / "input" / "config" / "hyperparameters.json", json.dumps(hyperparameters))
        (base / "model").mkdir()
        (base / "output" / "data").mkdir(parents=True)
        document = {
            "TrainingJobName": folder.name,
            "TrainingJobArn": folder.name,
            "HyperParameters": dict(hyperparameters),
            "InputDataConfig": [{"ChannelName": channel} for channel in channels],
        }
        environment = training_environment(document, programs.base_directory(folder), image.python)
        with self._run(folder, image.command("train"), environment) as program:
            if not program.wait(TRAIN_SECONDS):
                raise ProgramFailed(f"{image.module} still trained after {TRAIN_SECONDS:.0f} s")
        self._check_trained(image, folder)
        shutil.rmtree(base / "input")  # a model that serves sees no data of its training
        return folder

    def transform(self, image_uri: str, folder: Path, lines: str, inference_config: str) -> str:
        """What the program that serves the model in `folder` answers to `lines`: a prediction a line."""
        image = find_image(IMAGES, image_uri)
        port = free_port()
        environment = {
            **common_environment(image.python),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            INFERENCE_CONFIG: inference_config,
        }
        (folder / "exit_code").unlink(missing_ok=True)
        with self._run(folder, image.command("serve"), environment) as program:
            server = Server(program, port)
            server.await_healthy(self._check_open, None)
            answer = server.invoke(lines.encode(), {"Content-Type": "application/jsonlines"}, ANSWER_SECONDS)
        if answer.status != 200:
            raise ProgramFailed(f"{image.module} answered {answer.status}: {answer.body.decode(errors='replace')}")
        return answer.body.decode()

    def close(self) -> None:
        """Ends every program that runs, and lets no other start."""
        with self._lock:
            self._closed = True
            for program in self._running.values():
                program.kill()

    @contextmanager
    def _run(self, folder: Path, command: list[str], environment: Mapping[str, str]) -> Iterator[Program]:
        with self._lock:
            self._check_open()
            program = programs.start(folder, command, environment)
            self._running[folder] = program
        try:
            yield program
        except Exception:
            self._check_open()  # what went wrong went wrong because we ended it
            raise
        finally:
            program.stop(5.0)
            with self._lock:
                del self._running[folder]

    def _check_open(self) -> None:
        if self._closed:
            raise Cancelled

    def _check_trained(self, image: Image, folder: Path) -> None:
        if programs.exit_code(folder) != 0:
            self._check_open()
            failure = folder / "opt" / "ml" / "output" / "failure"
            reason = failure.read_text(errors="replace") if failure.exists() else (folder / "log").read_text()[-600:]
            raise ProgramFailed(f"{image.module} failed to train: {reason.strip()}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
