"""A feed with a few hundred minutes in a real local AWS and SageMaker, and the command that runs pipelines on it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopcast import aws as clients
from loopcast.feed import Feed, parse_feed
from loopcast.names import Names
from tests.components.examples import FEED_TEXT
from tests.components.stack import make_resources, minute, put
from tests.conftest import Service

CHECKOUT = Path(__file__).resolve().parents[2]
MINUTES = 300


@dataclass(frozen=True)
class Stack:
    """A feed with its resources and minutes."""

    feed: Feed
    names: Names
    file: Path
    folder: Path

    def command(self, pipeline: str, run_id: str, *flags: str) -> list[str]:
        head = [sys.executable, "-m", "pipelines.run", pipeline, "--feed", str(self.file), "--run-id", run_id]
        return [*head, "--output", str(self.output(pipeline, run_id)), "--poll-interval", "0.2", *flags]

    def run(self, pipeline: str, run_id: str, *flags: str) -> subprocess.CompletedProcess[str]:
        command = self.command(pipeline, run_id, *flags)
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=280)

    def result(self, pipeline: str, run_id: str, *flags: str) -> dict[str, Any]:
        """What a run that succeeds comes to."""
        done = self.run(pipeline, run_id, *flags)
        assert done.returncode == 0, done.stderr
        return dict(json.loads((self.output(pipeline, run_id) / "result.json").read_text()))

    def output(self, pipeline: str, run_id: str) -> Path:
        return self.folder / run_id / pipeline

    def set_parameter(self, value: str, *name: str) -> None:
        clients.client("ssm").put_parameter(
            Name=self.names.parameter(*name), Value=value, Type="String", Overwrite=True
        )

    def parameter(self, *name: str) -> str:
        return str(clients.client("ssm").get_parameter(Name=self.names.parameter(*name))["Parameter"]["Value"])


@pytest.fixture(scope="session")
def make_stack(
    aws: Service, sagemaker: Service, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Stack]:
    """A stack for a feed of the given name, whose DeepAR is trained for the given number of epochs, and beside it a
    candidate whose training fails for a hyperparameter that it doesn't know."""

    def make(name: str, epochs: int) -> Stack:
        folder = tmp_path_factory.mktemp(name)
        file = folder / "feed.yaml"
        file.write_text(FEED_TEXT.replace("name: parcels", f"name: {name}"))
        feed = parse_feed(file.read_text())
        stack = Stack(feed, make_resources(feed), file, folder)
        noise = np.random.default_rng(5).gamma(20, 5, MINUTES)
        values = 1000 + 100 * np.sin(np.arange(MINUTES) / 60) + noise
        put(stack.names, [minute(feed, index, float(value)) for index, value in enumerate(values) if index != 150])
        for parameter, value in {"epochs": str(epochs), "num_cells": "10", "num_layers": "1"}.items():
            stack.set_parameter(value, "hyperparameters", "deepar", parameter)
        stack.set_parameter("boosted, deepar, statistical", "candidates")
        stack.set_parameter("1", "hyperparameters", "statistical", "nonsense")
        return stack

    return make


@pytest.fixture(scope="module")
def stack(make_stack: Callable[[str, int], Stack]) -> Stack:
    return make_stack("parcels", 2)
