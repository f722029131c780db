"""What the simulation says while it runs, and what it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from components.history import History
from local.simulate.loop import Record, Retraining
from local.simulate.models import Training

_LINES = 5


class Progress:
    """Prints a line for each retraining of a policy, and now and then how far it is. Thread-safe."""

    def __init__(self, history: History, windows: int) -> None:
        self._history, self._windows = history, windows
        self._told: dict[str, int] = {}
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def __call__(self, record: Record) -> None:
        """Called after each window of a policy."""
        with self._lock:
            told = self._told.get(record.name, 0)
            self._told[record.name] = len(record.retrainings)
            for retraining in record.retrainings[told:]:
                self._say(record, self._retraining(retraining))
            done = len(record.points)
            if done % max(1, self._windows // _LINES) == 0:
                self._say(record, f"{done} of {self._windows} windows, {len(record.services)} models")

    def spent(self, trainings: Sequence[Training]) -> dict[str, Any]:
        """The wall time of everything and of the trainings of each algorithm, in seconds."""
        algorithms = sorted({training.algorithm for training in trainings})
        return {
            "seconds": time.monotonic() - self._began,
            "trainings": {name: [one.seconds for one in trainings if one.algorithm == name] for name in algorithms},
        }

    def _say(self, record: Record, text: str) -> None:
        moment = self._history.moment(record.points[-1].origin)
        elapsed = time.monotonic() - self._began
        print(f"{elapsed:6.0f} s  {record.name:<12} {moment:%d %b %H:%M}  {text}", flush=True)

    def _retraining(self, retraining: Retraining) -> str:
        build = retraining.build
        if build.winner is None:
            refused = build.verdict["register"][0]
            return f"{retraining.trigger}: {refused['role']} refused: {' '.join(refused['reasons'])}"
        return f"{retraining.trigger}: {build.winner.recipe.algorithm} promoted, loss {build.winner.loss:.3f}"
