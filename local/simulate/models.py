"""Models by what they are made of, each trained at most once in a simulation, and what they forecast."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from components.backtest.backtest import inference_config
from components.baselines import Forecast
from components.evaluate.evaluate import parse_predictions
from components.history import History
from components.hold_out.hold_out import evaluation_channel, training_channel, transform_input
from components.windows import Split
from local.simulate.containers import Containers
from loopcast.feed import Feed

_PROGRAMS = Path(__file__).parents[2] / "forecasters"


@dataclass(frozen=True)
class Recipe:
    """What a model is made of; equal recipes give equal models.

    It is trained on the steps of the whole history from `first` up to the first of `origins`, the held-out windows.
    """

    algorithm: str
    image: str
    hyperparameters: tuple[tuple[str, str], ...]
    first: int
    origins: tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """A training that took place, and how many seconds of wall time it took."""

    algorithm: str
    seconds: float


class Models:
    """The models of one simulation over `history`. Thread-safe; at most `workers` programs run at a time.

    Forecasts are kept in the folder `cache`, where one is given, for later simulations with the same programs.
    """

    def __init__(self, feed: Feed, history: History, containers: Containers, workers: int, cache: Path | None) -> None:
        self._feed, self._history, self._containers, self._cache = feed, history, containers, cache
        self._slots = threading.Semaphore(workers)
        self._locks: dict[Recipe, threading.Lock] = defaultdict(threading.Lock)
        self._folders: dict[Recipe, Path] = {}
        self._known: dict[Recipe, dict[int, Forecast]] = {}
        self._digest = _digest(feed, history)
        self.trainings: list[Training] = []

    def forecasts(self, recipe: Recipe, origins: Sequence[int]) -> list[Forecast]:
        """What the model of `recipe` says at each origin, from what was known before it. Trains it if need be."""
        with self._locks[recipe]:
            if recipe not in self._known:
                self._known[recipe] = self._read(recipe)
            known = self._known[recipe]
            missing = [origin for origin in origins if origin not in known]
            if missing:
                with self._slots:
                    known.update(zip(missing, self._ask(recipe, missing), strict=True))
                self._write(recipe, known)
            return [known[origin] for origin in origins]

    def close(self) -> None:
        """Ends every program; what is asked from now on raises `Cancelled`."""
        self._containers.close()

    def _ask(self, recipe: Recipe, origins: Sequence[int]) -> Iterable[Forecast]:
        if recipe not in self._folders:
            self._folders[recipe] = self._train(recipe)
        horizon, quantiles = self._feed.forecast.steps, self._feed.forecast.quantiles
        lines = transform_input(self._history, Split(list(origins), horizon, 0))
        answer = self._containers.transform(recipe.image, self._folders[recipe], lines, inference_config(self._feed))
        return parse_predictions(answer, len(origins), horizon, quantiles)

    def _train(self, recipe: Recipe) -> Path:
        horizon = self._feed.forecast.steps
        seen = self._history.until(recipe.origins[-1] + horizon)
        seen = seen.last(len(seen) - recipe.first)
        split = Split([origin - recipe.first for origin in recipe.origins], horizon, 0)
        channels = {"train": training_channel(seen, split), "test": evaluation_channel(seen, split)}
        began = time.monotonic()
        folder = self._containers.train(recipe.image, dict(recipe.hyperparameters), channels)
        self.trainings.append(Training(recipe.algorithm, time.monotonic() - began))
        return folder

    def _file(self, recipe: Recipe) -> Path | None:
        key = hashlib.sha256(f"{self._digest}{json.dumps(asdict(recipe))}".encode()).hexdigest()
        return self._cache / f"{recipe.algorithm}-{key}.json" if self._cache else None

    def _read(self, recipe: Recipe) -> dict[int, Forecast]:
        file = self._file(recipe)
        if file is None or not file.exists():
            return {}
        document = json.loads(file.read_text())
        return {
            int(origin): {float(quantile): np.array(values) for quantile, values in forecast.items()}
            for origin, forecast in document.items()
        }

    def _write(self, recipe: Recipe, known: dict[int, Forecast]) -> None:
        file = self._file(recipe)
        if file is not None:
            document = {
                origin: {f"{quantile:g}": values.tolist() for quantile, values in forecast.items()}
                for origin, forecast in known.items()
            }
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(document))
            partial.replace(file)


def _digest(feed: Feed, history: History) -> str:
    """Changes with whatever a forecast depends on beside its recipe: the data, what is asked for and the programs."""
    digest = hashlib.sha256(history.target.tobytes() + feed.forecast.model_dump_json().encode())
    for file in sorted(_PROGRAMS.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
