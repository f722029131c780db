"""A series without holes: a number a minute from `start` on, NaN where a minute never came.

A recording may have longer steps than a minute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from loopcast.minute import SLOTS, WINDOW, iso_minute

Array = npt.NDArray[np.float64]

CONTEXT = SLOTS
"""Minutes of history that a model sees, in the backtest as in service: what the online store holds."""


@dataclass(frozen=True)
class History:
    """`target[i]` is the value of the step that begins at `start + i * step`; shape (n,), in the target's unit."""

    start: datetime
    target: Array
    step: timedelta = WINDOW

    def __len__(self) -> int:
        return len(self.target)

    @property
    def end(self) -> datetime:
        """The end of the last minute."""
        return self.moment(len(self))

    @property
    def known(self) -> int:
        """How many minutes came."""
        return int((~np.isnan(self.target)).sum())

    def moment(self, index: int) -> datetime:
        return self.start + index * self.step

    def until(self, origin: int) -> History:
        """The minutes before the one at `origin`."""
        return replace(self, target=self.target[:origin])

    def last(self, minutes: int) -> History:
        """At most the newest `minutes`."""
        first = max(0, len(self) - minutes)
        return replace(self, start=self.moment(first), target=self.target[first:])

    def steps(self, hours: float) -> int:
        """How many steps `hours` are."""
        return timedelta(hours=hours) // self.step

    def context(self) -> History:
        """What a model sees of it."""
        return self.last(timedelta(minutes=CONTEXT) // self.step)

    def to_instance(self) -> dict[str, Any]:
        """The DeepAR form, `{"start": "2026-11-21 10:00:00", "target": [1.0, null, ...]}`."""
        return {"start": f"{self.start:%Y-%m-%d %H:%M:%S}", "target": [or_null(value) for value in self.target]}

    def to_json(self) -> dict[str, Any]:
        return {"start": iso_minute(self.start), "target": [or_null(value) for value in self.target]}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> History:
        return History(datetime.fromisoformat(document["start"]), np.array(document["target"], dtype=np.float64))


def or_null(value: float) -> float | None:
    """`value` for JSON, which has no NaN."""
    return None if math.isnan(value) else float(value)
