"""What a monitor run has collected, as its steps hand it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from components.columns import Columns
from components.history import or_null
from components.monitor.records import Window
from components.monitor.served import Served
from loopcast.minute import iso_minute


@dataclass(frozen=True)
class Closed:
    """The windows that closed since the stage's last run, from `start` to `end`, and all that was known of them.

    `before` is until when windows were judged before, `minutes` what was read of the feature store. Of the `number`
    windows, `asked` are those of which a minute came.
    """

    served: Served
    before: str | None
    start: datetime
    end: datetime
    number: int
    asked: list[Window]
    minutes: Columns

    def to_json(self) -> dict[str, Any]:
        return {
            "served": asdict(self.served),
            "before": self.before,
            "start": iso_minute(self.start),
            "end": iso_minute(self.end),
            "number": self.number,
            "asked": [_to_json(window) for window in self.asked],
            "minutes": self.minutes.to_json(),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Closed:
        return Closed(
            Served(**document["served"]),
            document["before"],
            datetime.fromisoformat(document["start"]),
            datetime.fromisoformat(document["end"]),
            document["number"],
            [_from_json(window) for window in document["asked"]],
            Columns.from_json(document["minutes"]),
        )


def _to_json(window: Window) -> dict[str, Any]:
    forecast = {f"{quantile:g}": values.tolist() for quantile, values in window.forecast.items()}
    actual = [or_null(value) for value in window.actual]
    return {"start": iso_minute(window.start), "actual": actual, "forecast": forecast}


def _from_json(document: Mapping[str, Any]) -> Window:
    forecast = {float(level): np.array(values) for level, values in document["forecast"].items()}
    actual = np.array(document["actual"], dtype=np.float64)
    return Window(datetime.fromisoformat(document["start"]), actual, forecast)
