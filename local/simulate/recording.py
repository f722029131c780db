"""A recording of weeks as one series: the average fee of each five-minute snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from components.history import History
from local.source.recordings import SNAPSHOT_SECONDS, BadRecording, Levels, read_recording

STEP = timedelta(seconds=SNAPSHOT_SECONDS)


def read_history(path: Path) -> History:
    """The average fee in satoshi, a number for each five minutes from the first snapshot on, NaN where none was taken.

    Raises `BadRecording`.
    """
    found = read_recording(path)
    if not isinstance(found, Levels):
        raise BadRecording(f"{path} is a saved answer of 7 seconds: give a parquet file of weeks of five-minute levels")
    return to_history(found)


def to_history(levels: Levels) -> History:
    """The levels on a grid of five minutes; of two that fall on one place the later counts."""
    places = levels.times // SNAPSHOT_SECONDS
    target = np.full(int(places[-1] - places[0]) + 1, np.nan)
    target[places - places[0]] = levels.fees
    start = datetime.fromtimestamp(int(places[0]) * SNAPSHOT_SECONDS, UTC)
    return History(start, target, STEP)
