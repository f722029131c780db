"""When monitoring runs and which hours of data it looks at; pure functions over seconds since the epoch, in UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = 3600
DAY = 24 * HOUR
NOW = "NOW"
_CRON = re.compile(r"cron\(0 (\*|[01]?\d|2[0-3])(?:/(0?[1-9]|1\d|2[0-4]))? \? \* \* \*\)")
_DURATION = re.compile(r"(-?)P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


class Unusable(ValueError):
    """A schedule that monitoring doesn't know; the message says what it knows."""


@dataclass(frozen=True)
class Cron:
    """Runs at the full hours `hours` of every day."""

    hours: frozenset[int]

    def after(self, moment: float) -> float:
        """The first slot later than `moment`."""
        slot = moment // HOUR * HOUR + HOUR
        while not self._is_slot(slot):
            slot += HOUR
        return slot

    def before(self, moment: float) -> float:
        """The last slot earlier than `moment`."""
        slot = -(-moment // HOUR) * HOUR - HOUR
        while not self._is_slot(slot):
            slot -= HOUR
        return slot

    def _is_slot(self, moment: float) -> bool:
        return moment % DAY // HOUR in self.hours


@dataclass(frozen=True)
class Window:
    """Data of `start` <= time < `end`."""

    start: float
    end: float


def cron(expression: str) -> Cron | None:
    """None for NOW, which is once. Raises `Unusable`."""
    if expression == NOW:
        return None
    match = _CRON.fullmatch(expression)
    if match is None:
        raise Unusable(
            f"The schedule expression {expression!r} is not supported: use cron(0 * ? * * *), cron(0 [00-23] ? * * *), "
            "cron(0 [00-23]/[01-24] ? * * *) or NOW."
        )
    hour, every = match.groups()
    first, step = (0, int(every or 1)) if hour == "*" else (int(hour), int(every or 24))
    return Cron(frozenset((first + passed) % 24 for passed in range(0, 24, step)))


def window(schedule: Mapping[str, str], data: Mapping[str, Any], slot: float) -> Window:
    """What the execution of `slot` looks at: by default all since the slot before. `schedule` is a ScheduleConfig,
    whose offsets are relative to the slot; those of `data`, the job's input, come on top. Raises `Unusable`."""
    times = cron(schedule["ScheduleExpression"])
    stated = [schedule.get("DataAnalysisStartTime"), schedule.get("DataAnalysisEndTime")]
    if times is None and None in stated:
        raise Unusable(f"DataAnalysisStartTime and DataAnalysisEndTime are required when ScheduleExpression is {NOW}.")
    start = _offset(stated[0], data.get("StartTimeOffset"))
    end = _offset(stated[1], data.get("EndTimeOffset"))
    earliest = times.before(slot) if times and start is None else slot + (start or 0)
    latest = slot + (end or 0)
    if not earliest < latest:
        raise Unusable("The end of the data to analyze must be later than its start.")
    return Window(earliest, latest)


def duration(text: str) -> float:
    """Seconds of an ISO 8601 duration of days, hours, minutes and seconds, as `-PT1H`. Raises `Unusable`."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()[1:]):
        raise Unusable(f"{text!r} is no offset: write it in ISO 8601, as -PT1H or -P1D.")
    sign, *parts = match.groups()
    days, hours, minutes, seconds = (int(part or 0) for part in parts)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    return -length if sign else length


def hours(start: float, end: float) -> list[str]:
    """The folders `YYYY/MM/DD/HH` that hold data of `start` <= time < `end`."""
    first = start // HOUR * HOUR
    count = max(0, -(-(end - first) // HOUR))
    return [f"{datetime.fromtimestamp(first + index * HOUR, UTC):%Y/%m/%d/%H}" for index in range(int(count))]


def _offset(*texts: str | None) -> float | None:
    """The sum of those that are given; None when none is."""
    given = [duration(text) for text in texts if text is not None]
    return sum(given) if given else None
