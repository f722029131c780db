"""Every metric of a series without holes: a number a minute from `start` on, NaN where it never came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from components.history import Array, History, or_null
from loopcast.minute import WINDOW, iso_minute


@dataclass(frozen=True)
class Columns:
    """`values[metric][i]` is the metric in the minute that begins at `start + i minutes`; shape (n,), in its unit."""

    start: datetime
    values: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def came(self) -> Array:
        """1 for each minute of which any metric is known, else 0; shape (n,)."""
        known = ~np.isnan(np.array(list(self.values.values())))
        return np.asarray(known.any(axis=0), dtype=np.float64)

    def until(self, origin: int) -> Columns:
        """The minutes before the one at `origin`."""
        return Columns(self.start, {name: column[:origin] for name, column in self.values.items()})

    def history(self, metric: str) -> History:
        """The history of one metric."""
        return History(self.start, self.values[metric])

    def to_json(self) -> dict[str, Any]:
        values = {name: [or_null(value) for value in column] for name, column in self.values.items()}
        return {"start": iso_minute(self.start), "metrics": values}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Columns:
        values = {name: np.array(column, dtype=np.float64) for name, column in document["metrics"].items()}
        return Columns(datetime.fromisoformat(document["start"]), values)


def contiguous(minutes: Mapping[datetime, Mapping[str, float]], metrics: Iterable[str]) -> Columns:
    """The columns of `minutes` by start, from the first to the last; `minutes` must not be empty."""
    start = min(minutes)
    indices = np.array([(minute - start) // WINDOW for minute in minutes])
    values = {}
    for name in metrics:
        values[name] = np.full(int(indices.max()) + 1, np.nan)
        values[name][indices] = [row.get(name, np.nan) for row in minutes.values()]
    return Columns(start, values)
