"""When the alarm on loss divided by threshold stands, by CloudWatch's rule of M out of N datapoints; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 1.0


@dataclass(frozen=True)
class AlarmRule:
    """The alarm stands when `datapoints` of the newest `periods` datapoints are above the limit."""

    datapoints: int
    periods: int

    def __post_init__(self) -> None:
        if not 1 <= self.datapoints <= self.periods:
            raise ValueError(f"an alarm counts 1 to N of N datapoints, not {self.datapoints} of {self.periods}")

    def newest(self, ratios: Sequence[float]) -> list[int]:
        """The indices of the datapoints that count: a missing one (NaN) is ignored, an older one takes its place."""
        return [index for index, ratio in enumerate(ratios) if not math.isnan(ratio)][-self.periods :]

    def stands(self, ratios: Sequence[float]) -> bool:
        """Whether the alarm stands after `ratios`, oldest first."""
        return sum(ratios[index] > LIMIT for index in self.newest(ratios)) >= self.datapoints

    def first_breach(self, ratios: Sequence[float]) -> int | None:
        """The index of the datapoint with which the alarm would first stand, were there no others before `ratios`."""
        return next((end - 1 for end in range(1, len(ratios) + 1) if self.stands(ratios[:end])), None)
