"""One clock: bounds, time-outs and schedules are stated in event time and scaled to wall time here only."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

DISORDER = 2.0
"""How far out of order, in seconds of wall time, events may come through queues and still count at once."""

_SHORT_ALARM_PERIODS = (10, 20, 30)
_MINUTE = 60


@dataclass(frozen=True)
class Clock:
    """`speed` seconds of event time pass in one second of wall time."""

    speed: float = 1.0
    now: Callable[[], float] = field(default=time.time, compare=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, compare=False)
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False)

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"the speed must be above 0, not {self.speed}")

    def wall(self, event_seconds: float) -> float:
        """How long `event_seconds` of event time last on the wall, in seconds."""
        return event_seconds / self.speed

    def lateness(self, event_seconds: float) -> float:
        """The bound of a watermark, in seconds of event time: what the feed states, or at a speed-up what the
        queues' disorder comes to."""
        return max(event_seconds, DISORDER * self.speed)

    def alarm_period(self, event_seconds: float) -> int:
        """The period, in seconds, of a CloudWatch alarm whose period is stated in event time: the next that CloudWatch
        takes, 10, 20, 30 or a multiple of 60."""
        wall = self.wall(event_seconds)
        short = (period for period in _SHORT_ALARM_PERIODS if wall <= period)
        return next(short, math.ceil(wall / _MINUTE) * _MINUTE)

    def now_ms(self) -> int:
        return int(self.now() * 1000)


def clock_from_environment() -> Clock:
    """The clock at the speed that LOOPCAST_SPEED states (1 when unset)."""
    text = os.environ.get("LOOPCAST_SPEED", "1")
    try:
        return Clock(float(text))
    except ValueError as error:
        raise SystemExit(f"LOOPCAST_SPEED must be a number above 0, not {text!r}") from error
