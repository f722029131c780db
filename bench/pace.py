"""How much of what arrives the poller sees at its pace, beside a fixed interval, over the simulator's arrivals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.stacks import FEED
from ingestion.pace import pace_of
from local.source.arrivals import Arrivals
from local.source.calibration import load_calibration
from local.source.generators import MICROSECONDS, SLOT_SECONDS, Simulated
from local.source.regime import Timeline
from loopcast.clock import Clock
from loopcast.feed import load_feed

_HOURS = 12
_START = 1_763_700_000  # a whole minute, so that the arrivals are the same each time
_FIXED = 15.0


def measure(_folder: Path, _port: int) -> list[dict[str, Any]]:
    """Rows (what, value, unit)."""
    source = load_feed(FEED).source
    pace = pace_of(source, Clock())
    moments = _arrivals()
    rows = []
    for name, interval in (("the poller's pace", pace.after_answer), (f"every {_FIXED:.0f} s", lambda *_: _FIXED)):
        polls, missed = _poll(moments, source.page_size, interval)
        rows.append({"what": f"{name}: never seen", "value": 100 * missed / len(moments), "unit": "% of arrivals"})
        rows.append({"what": f"{name}: polls", "value": polls / _HOURS / 60, "unit": "a minute"})
    return rows


def _arrivals() -> npt.NDArray[np.float64]:
    """When transactions arrive, in seconds, rising."""
    arrivals = Arrivals(Simulated(load_calibration(), _START, seed=0), _START, 0, Timeline([]))
    slots = range(_HOURS * 3600 // SLOT_SECONDS)
    return np.array([arrival.moment / MICROSECONDS for slot in slots for arrival in arrivals.slot(slot)])


def _poll(
    moments: npt.NDArray[np.float64], page: int, interval: Callable[[float, int, bool], float]
) -> tuple[int, int]:
    """How many polls there were, and how many arrivals were on no page."""
    now, wait, seen, polls, missed = float(moments[0]), 1.0, 0, 0, 0
    while now < moments[-1]:
        arrived = int(np.searchsorted(moments, now, side="right"))
        fresh = arrived - seen
        polls, missed, seen = polls + 1, missed + max(0, fresh - page), arrived
        wait = interval(wait, min(fresh, page), fresh >= page)
        now += wait
    return polls, missed
