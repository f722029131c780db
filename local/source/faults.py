"""Faults that the next answers are to have."""

from __future__ import annotations

import threading
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["empty", "429", "503", "slow", "cut", "invalid_json", "missing_fee", "clock_skew"]


class Fault(BaseModel):
    """The next `answers` answers have this fault. `seconds`: how long a slow one takes, how far a skewed clock is
    ahead (a slow one 3 s, a skewed clock a day, unless stated)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind
    answers: Annotated[int, Field(ge=0)]
    seconds: Annotated[int, Field(gt=0)] | None = None


class Faults:
    """Which fault is on; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._left = 0

    def switch(self, fault: Fault | None) -> None:
        """The next answers have `fault`; None ends one early."""
        with self._lock:
            self._fault, self._left = fault, fault.answers if fault else 0

    def take(self) -> Fault | None:
        """The fault of the answer that is made now, if it has one."""
        with self._lock:
            if self._left <= 0:
                return None
            self._left -= 1
            return self._fault

    def left(self) -> int:
        """How many answers are still to be faulty."""
        return self._left
