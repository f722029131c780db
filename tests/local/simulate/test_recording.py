"""A recording becomes one series of five-minute steps, or is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from local.simulate.recording import STEP, read_history, to_history
from local.source.recordings import BadRecording, Levels

SLOT = 5_804_000
"""The first snapshot's place on the grid of five minutes."""


def _levels(places: list[int], fees: list[float], late: int = 0) -> Levels:
    return Levels(np.array([300 * (SLOT + place) + late for place in places]), np.ones(len(fees)), np.array(fees))


def test_each_snapshot_stands_at_its_place_and_what_was_not_taken_is_nan() -> None:
    history = to_history(_levels([0, 1, 4], [10.0, 20.0, 30.0]))
    np.testing.assert_array_equal(history.target, [10, 20, np.nan, np.nan, 30])
    assert history.moment(4) - history.start == 4 * STEP
    assert history.start.timestamp() == 300 * SLOT


def test_snapshots_taken_some_seconds_late_keep_their_places() -> None:
    punctual, late = (to_history(_levels([0, 2], [1.0, 2.0], late)) for late in (0, 299))
    np.testing.assert_array_equal(punctual.target, late.target)
    assert punctual.start == late.start


def test_an_hour_is_twelve_steps_of_a_recording() -> None:
    assert to_history(_levels([0], [1.0])).steps(1) == 12


def test_a_saved_answer_is_refused_with_what_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text('{"txs": [{"hash": "a", "time": 1, "size": 1, "weight": 4, "inputs": [], "out": [], "fee": 5}]}')
    with pytest.raises(BadRecording, match="parquet file of weeks"):
        read_history(file)
