"""Scores every forecaster against the baselines on a recording and on simulated minutes.

    python -m bench.forecasters FILE [--use NAME]

The recording is a parquet file of five-minute snapshots of a mempool (docs/simulator.md); the target is the average
fee. Every model is trained and asked as SageMaker would do it, by the program behind its image, with at most a day of
history in a request. Four uses are measured: `hours`, a short history as the demo has it, at several times of the
recording; `minutes`, the same of simulated minutes; `weeks` of history, once; and `rolling`, the whole recording but
its first week, three hours apart, with a training every three days on what came before. Prints a table for each.
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

from local.source.calibration import load_calibration
from local.source.generators import SLOT_SECONDS, Simulated
from local.source.recordings import SNAPSHOT_SECONDS, Levels, read_recording
from local.source.regime import MICROSECONDS, Regime
from loopcast.forecast import INFERENCE_CONFIG, configuration
from loopcast.metrics import coverage, mean_weighted_quantile_loss

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv" / "forecasters" / "bin" / "python"
HORIZON = 30
QUANTILES = [0.05, 0.5, 0.95]
SAMPLES = 200
MINUTE = 60
DAY = 86400 // SNAPSHOT_SECONDS
HISTORY, WINDOWS, APART = 223, 8, 11
"""As 330 minutes are split in the demo."""

HOURS = {"context_length": 120, "epochs": 5, "mini_batch_size": 32}
WEEKS = {"context_length": 30, "epochs": 60, "mini_batch_size": 64}

Array = npt.NDArray[np.float64]
Forecast = dict[float, Array]
"""For each quantile HORIZON numbers."""


@dataclass(frozen=True)
class Feed:
    """A target, a number each `step` seconds from `start` (seconds since the epoch) on."""

    start: int
    step: int
    target: Array

    def line(self, first: int, end: int) -> str:
        start = datetime.fromtimestamp(self.start + first * self.step, UTC).isoformat()
        return json.dumps({"start": start, "target": self.target[first:end].tolist()})

    @property
    def day(self) -> int:
        """A day's steps."""
        return 86400 // self.step


@dataclass(frozen=True)
class Task:
    """Train on `feed.target[first:last]`, then forecast at `origins`, each with the day that came before."""

    feed: Feed
    first: int
    last: int
    origins: Sequence[int]


Model = Callable[[Task], list[Forecast]]
"""From a task to the forecasts at its origins."""


@dataclass(frozen=True)
class Use:
    """A way to use the models: its tasks, its empirical baselines (steps), and the DeepARs to compare. Windows of all
    tasks are scored together where `pooled`; else the scores of the tasks are averaged."""

    tasks: Sequence[Task]
    empirical: Sequence[int]
    deepar: Sequence[Mapping[str, object]]
    pooled: bool = False


def hours(recording: Feed) -> Use:
    starts = np.linspace(DAY, len(recording.target) - HISTORY - WINDOWS * APART - HORIZON, 8).astype(int)
    tasks = [_short(recording, start) for start in starts.tolist()]
    return Use(tasks, [60, HISTORY], [HOURS, HOURS | {"epochs": 20}])


def minutes(recording: Feed) -> Use:
    """Of a simulated feed, which the recording has calibrated."""
    feeds = [simulated(recording.start, seed) for seed in range(8)]
    return Use([_short(feed, 0) for feed in feeds], [60, HISTORY], [HOURS])


def _short(feed: Feed, start: int) -> Task:
    return Task(feed, start, start + HISTORY, [start + HISTORY + APART * window for window in range(WINDOWS)])


def weeks(recording: Feed) -> Use:
    trained = int(len(recording.target) * 0.7)
    origins = range(trained, len(recording.target) - HORIZON, DAY // 3)
    tasks = [Task(recording, 0, trained, origins)]
    return Use(tasks, [DAY // 24, DAY // 4, DAY], [WEEKS, WEEKS | {"epochs": 20}])


def rolling(recording: Feed) -> Use:
    """DeepAR is left out: it would train for an hour."""
    end = len(recording.target) - HORIZON
    origins = range(7 * DAY, end, DAY // 8)
    tasks = [
        Task(
            recording, max(0, last - 21 * DAY), last, [origin for origin in origins if last <= origin < last + 3 * DAY]
        )
        for last in range(7 * DAY, end, 3 * DAY)
    ]
    return Use(tasks, [DAY // 24, DAY // 4, DAY], [], pooled=True)


USES = {"hours": hours, "minutes": minutes, "weeks": weeks, "rolling": rolling}


def simulated(start: int, seed: int) -> Feed:
    """The average fee of each minute of a run of the simulator, as long as a short history and its windows."""
    steps = HISTORY + WINDOWS * APART + HORIZON
    generator = Simulated(load_calibration(), start + seed * 86400, seed)
    random = np.random.default_rng(seed)
    averages = []
    for slot in range(steps * MINUTE // SLOT_SECONDS + 1):
        draw = generator.draw(slot, Regime(), random)
        minute = draw.moments // (MINUTE * MICROSECONDS)
        averages += [draw.fees[minute == number].mean() for number in range(SLOT_SECONDS // MINUTE)]
    return Feed(start, MINUTE, np.array(averages[:steps]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.forecasters", description=__doc__)
    parser.add_argument("recording", type=Path, help="a parquet file with the columns of the shared recording")
    parser.add_argument("--use", choices=USES, action="append", help="only this (may be repeated)")
    arguments = parser.parse_args()
    levels = read_recording(arguments.recording)
    if not isinstance(levels, Levels):
        parser.error("give a recording of levels, not a saved answer")
    recording = Feed(int(levels.times[0]), SNAPSHOT_SECONDS, levels.fees)
    for name in arguments.use or USES:
        use = USES[name](recording)
        print(f"\n{name}: {len(use.tasks)} trainings, {sum(len(task.origins) for task in use.tasks)} windows")
        print(f"{'model':<75} {'loss':>7} {'cover':>6} {'seconds':>8}")
        for label, model in models(use):
            _report(label, use, model)


def models(use: Use) -> Iterator[tuple[str, Model]]:
    """The rivals of one use, by name."""
    yield "persistence", lambda task: [_last_value(task.feed.target[origin - 1]) for origin in task.origins]
    for steps in use.empirical:
        yield (
            f"empirical {steps} steps",
            lambda task, steps=steps: [_latest(task, origin, steps) for origin in task.origins],
        )
    yield "statistical", _program("forecasters.statistical", {})
    yield "boosted", _program("forecasters.boosted", {})
    for given in use.deepar:
        yield f"deepar {json.dumps(given)}", _program("forecasters.deepar", given)


def _last_value(value: float) -> Forecast:
    return {quantile: np.full(HORIZON, value) for quantile in QUANTILES}


def _latest(task: Task, origin: int, steps: int) -> Forecast:
    past = task.feed.target[max(0, origin - steps) : origin]
    return {quantile: np.full(HORIZON, np.quantile(past, quantile)) for quantile in QUANTILES}


def _program(module: str, settings: Mapping[str, object]) -> Model:
    """The program `module` as a model, trained anew for each task."""

    def forecast(task: Task) -> list[Forecast]:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            _train(module, base, settings, task)
            lines = [task.feed.line(max(task.first, origin - task.feed.day), origin) for origin in task.origins]
            return [_forecast(json.loads(line)) for line in _transform(module, base, lines)]

    return forecast


def _forecast(prediction: Mapping[str, Any]) -> Forecast:
    return {quantile: np.array(prediction["quantiles"][f"{quantile:g}"]) for quantile in QUANTILES}


def _train(module: str, base: Path, settings: Mapping[str, object], task: Task) -> None:
    stated = {"prediction_length": HORIZON, "time_freq": f"{task.feed.step // MINUTE}min"}
    for file, text in {
        "config/hyperparameters.json": json.dumps(
            {name: str(value) for name, value in (stated | dict(settings)).items()}
        ),
        "data/train/series.json": task.feed.line(task.first, task.last),
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


def _report(name: str, use: Use, model: Model) -> None:
    """A row: the loss, the share within the outer quantiles, and the seconds a task."""
    began = time.monotonic()
    answered = [(task, model(task)) for task in use.tasks]
    groups = [answered] if use.pooled else [[one] for one in answered]
    loss, cover = np.mean([_score(group) for group in groups], axis=0)
    print(f"{name:<75} {loss:7.4f} {cover:6.2f} {(time.monotonic() - began) / len(use.tasks):8.1f}", flush=True)


def _score(answered: Sequence[tuple[Task, list[Forecast]]]) -> tuple[float, float]:
    actual = np.concatenate(
        [task.feed.target[origin : origin + HORIZON] for task, _ in answered for origin in task.origins]
    )
    forecasts = [forecast for _, found in answered for forecast in found]
    pooled = {quantile: np.concatenate([forecast[quantile] for forecast in forecasts]) for quantile in QUANTILES}
    within = coverage(actual, pooled[QUANTILES[0]], pooled[QUANTILES[-1]])
    return mean_weighted_quantile_loss(actual, pooled), within


if __name__ == "__main__":
    main()
