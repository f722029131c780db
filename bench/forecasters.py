"""Scores DeepAR against the empirical baseline and persistence on a recording: `python -m bench.forecasters FILE`.

The recording is a parquet file of five-minute snapshots of a mempool (docs/simulator.md); the target is the average
fee. Every model is trained and asked as SageMaker would do it, by the program behind its image. Two uses are measured:
a short history, as the demo has it, at several times of the recording, and weeks of history, once. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import requests

from local.source.recordings import SNAPSHOT_SECONDS, Levels, read_recording
from loopcast.forecast import INFERENCE_CONFIG, configuration
from loopcast.metrics import coverage, mean_weighted_quantile_loss

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv" / "forecasters" / "bin" / "python"
HORIZON = 30
QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]
SAMPLES = 200
DAY = 86400 // SNAPSHOT_SECONDS

SHORT = {"context_length": 120, "epochs": 5, "mini_batch_size": 32}
WEEKS = {"context_length": 30, "epochs": 60, "mini_batch_size": 64}

Array = npt.NDArray[np.float64]
Forecast = dict[float, Array]
"""For each quantile HORIZON numbers."""


@dataclass(frozen=True)
class Task:
    """Train on `target[first:last]`, then forecast at `origins`, each with all that came since `first`."""

    first: int
    last: int
    origins: Sequence[int]


Model = Callable[[Task], list[Forecast]]
"""From a task to the forecasts at its origins."""


@dataclass(frozen=True)
class Use:
    """A way to use the model: its tasks, its empirical baselines (steps), and the DeepARs to compare."""

    name: str
    tasks: Sequence[Task]
    empirical: Sequence[int]
    deepar: Sequence[Mapping[str, object]]


def uses(length: int) -> list[Use]:
    """The two uses of a recording of `length` snapshots."""
    history, windows, apart = 223, 8, 11  # as 330 minutes are split in the demo
    starts = np.linspace(DAY, length - history - windows * apart - HORIZON, 8).astype(int)
    short = [
        Task(start, start + history, [start + history + apart * window for window in range(windows)])
        for start in starts.tolist()
    ]
    trained = int(length * 0.7)
    weeks = Task(0, trained, list(range(trained, length - HORIZON, DAY // 3)))
    return [
        Use("short history", short, [60, history], [SHORT, SHORT | {"epochs": 20}, SHORT | {"context_length": 30}]),
        Use(
            "weeks",
            [weeks],
            [DAY // 24, DAY // 4, DAY],
            [WEEKS, WEEKS | {"epochs": 20}, WEEKS | {"context_length": 96}],
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.forecasters", description=__doc__)
    parser.add_argument("recording", type=Path, help="a parquet file with the columns of the shared recording")
    recording = read_recording(parser.parse_args().recording)
    if not isinstance(recording, Levels):
        parser.error("give a recording of levels, not a saved answer")
    for use in uses(len(recording.fees)):
        print(f"\n{use.name}: {len(use.tasks)} trainings, {sum(len(task.origins) for task in use.tasks)} windows")
        print(f"{'model':<75} {'loss':>7} {'cover':>6} {'seconds':>8}")
        for name, forecast in models(use, recording):
            _report(name, use.tasks, recording.fees, forecast)


def models(use: Use, recording: Levels) -> Iterator[tuple[str, Model]]:
    """The rivals of one use, by name."""
    yield "persistence", lambda task: [_last_value(recording.fees[origin - 1]) for origin in task.origins]
    for steps in use.empirical:
        settings = {"context_length": steps}
        yield f"empirical {json.dumps(settings)}", _program("forecasters.empirical", settings, recording)
    for given in use.deepar:
        yield f"deepar {json.dumps(given)}", _program("forecasters.deepar", given, recording)


def _last_value(value: float) -> Forecast:
    return {quantile: np.full(HORIZON, value) for quantile in QUANTILES}


def _program(module: str, settings: Mapping[str, object], recording: Levels) -> Model:
    """The program `module` as a model, trained anew for each task."""

    def forecast(task: Task) -> list[Forecast]:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            _train(module, base, settings, _line(recording, task.first, task.last))
            lines = [_line(recording, task.first, origin) for origin in task.origins]
            return [_forecast(json.loads(line)) for line in _transform(module, base, lines)]

    return forecast


def _line(recording: Levels, first: int, end: int) -> str:
    start = datetime.fromtimestamp(int(recording.times[first]), UTC).isoformat()
    return json.dumps({"start": start, "target": recording.fees[first:end].tolist()})


def _forecast(prediction: Mapping[str, Any]) -> Forecast:
    return {quantile: np.array(prediction["quantiles"][f"{quantile:g}"]) for quantile in QUANTILES}


def _train(module: str, base: Path, settings: Mapping[str, object], line: str) -> None:
    hyperparameters = {"prediction_length": HORIZON, "time_freq": "5min"} | dict(settings)
    for file, text in {
        "config/hyperparameters.json": json.dumps({name: str(value) for name, value in hyperparameters.items()}),
        "data/train/series.json": line,
    }.items():
        path = base / "input" / file
        path.parent.mkdir(parents=True)
        path.write_text(text)
    subprocess.run(
        [str(PYTHON), "-m", module, "train"],
        env=_environment(base),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=1800,
    )


def _transform(module: str, base: Path, lines: Sequence[str]) -> list[str]:
    """A batch transform by the program's own server."""
    with _serving(module, base) as url:
        answer = requests.post(
            f"{url}/invocations",
            data="\n".join(lines).encode(),
            headers={"content-type": "application/jsonlines"},
            timeout=600,
        )
    answer.raise_for_status()
    return answer.text.splitlines()


@contextmanager
def _serving(module: str, base: Path) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    asked = configuration(QUANTILES, SAMPLES).model_dump_json()
    environment = _environment(base) | {"SAGEMAKER_BIND_TO_PORT": str(port), INFERENCE_CONFIG: asked}
    server = subprocess.Popen([str(PYTHON), "-m", module, "serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_until_up(server, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_up(server: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(1200):
        if server.poll() is not None:
            raise RuntimeError(f"the server stopped with status {server.returncode}")
        try:
            requests.get(f"{url}/ping", timeout=2)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server is not up after two minutes")


def _environment(base: Path) -> dict[str, str]:
    return os.environ | {"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(ROOT)}


def _report(name: str, tasks: Sequence[Task], target: Array, model: Model) -> None:
    """A row: the mean over the tasks of the loss over each one's windows, and the share within the outer quantiles."""
    began = time.monotonic()
    scores = [_score(task, target, model(task)) for task in tasks]
    loss, cover = np.mean(scores, axis=0)
    print(f"{name:<75} {loss:7.3f} {cover:6.2f} {(time.monotonic() - began) / len(tasks):8.1f}", flush=True)


def _score(task: Task, target: Array, forecasts: Sequence[Forecast]) -> tuple[float, float]:
    actual = np.concatenate([target[origin : origin + HORIZON] for origin in task.origins])
    pooled = {quantile: np.concatenate([forecast[quantile] for forecast in forecasts]) for quantile in QUANTILES}
    within = coverage(actual, pooled[QUANTILES[0]], pooled[QUANTILES[-1]])
    return mean_weighted_quantile_loss(actual, pooled), within


if __name__ == "__main__":
    main()
