"""Regimes: what multiplies fees and arrivals, and from which moment of event time on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MICROSECONDS = 1_000_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Regime(BaseModel):
    """`fees` multiplies every fee, `volume` the arrivals, of what the calibration or the recording says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fees: Annotated[float, Field(gt=0, le=1000)] = 1.0
    volume: Annotated[float, Field(gt=0, le=100)] = 1.0


class Timeline:
    """Which regime holds when; moments are microseconds since the epoch."""

    def __init__(self, changes: Iterable[tuple[int, Regime]] = ()) -> None:
        self._changes = sorted(changes, key=lambda change: change[0])

    def change(self, moment: int, regime: Regime) -> None:
        """From `moment` on `regime` holds; of changes at one moment the last holds."""
        self._changes = sorted([*self._changes, (moment, regime)], key=lambda change: change[0])

    def at(self, moment: int) -> Regime:
        """The regime that holds at `moment`."""
        return ([Regime()] + [regime for since, regime in self._changes if since <= moment])[-1]

    def segments(self, start: int, end: int) -> Iterator[tuple[int, int, Regime]]:
        """[start, end) cut where the regime changes. A later change leaves the earlier segments as they were."""
        cuts = [moment for moment, _ in self._changes if start < moment < end]
        for a, b in pairwise([start, *cuts, end]):
            yield a, b, self.at(a)


def parse_regime(text: str) -> Regime:
    """The regime in `fees=3,volume=0.5`. Raises `ValueError`."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return Regime.model_validate({name.strip(): float(value) for name, _, value in pairs})
    except ValueError:
        raise ValueError(f"a regime is written fees=3,volume=0.5 (factors above 0), not {text!r}") from None


def parse_duration(text: str) -> int:
    """The seconds in `90s`, `30m`, `4h` or `2d`. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if not match:
        raise ValueError(f"a duration is a whole number and one of s, m, h, d, such as 4h, not {text!r}")
    return int(match[1]) * _UNITS[match[2]]
