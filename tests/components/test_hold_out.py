"""What is held out is never trained on, and a short history is refused with what it lacks."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.history import CONTEXT, History
from components.hold_out.hold_out import best_hours, evaluation_channel, hold_out, training_channel, transform_input
from components.run import Refused
from tests.components.examples import START, history

QUANTILES = [0.1, 0.5, 0.9]


@given(st.integers(100, 4000), st.integers(5, 60), st.integers(8, 20), st.integers(0, 60))
def test_windows_end_with_the_history_and_begin_after_the_training_minutes(length, horizon, windows, stride) -> None:
    series = History(START, np.arange(float(length)))
    try:
        split = hold_out(series, horizon, windows, stride)
    except Refused:
        assume(False)
    assert len(split.origins) == windows
    assert split.origins[-1] + horizon == length
    assert set(np.diff(split.origins)) == {split.stride}
    assert split.first >= 4 * horizon
    trained_on = json.loads(training_channel(series, split))["target"]
    assert max(trained_on) < split.first


@given(st.integers(0, 400), st.integers(8, 12))
def test_a_history_that_is_refused_is_accepted_after_the_wait_that_was_asked_for(length, windows) -> None:
    try:
        hold_out(history(length), 30, windows, 10)
    except Refused as refusal:
        wait = int(str(refusal).split("wait ")[1].split(" ")[0])
        assert wait > 0
        hold_out(history(length + wait), 30, windows, 10)
        with pytest.raises(Refused):
            hold_out(history(length + wait - 1), 30, windows, 10)


def test_a_refusal_says_how_much_is_needed() -> None:
    with pytest.raises(Refused, match=r"need 220 minutes.*wait 20 minutes more"):
        hold_out(history(200), 30, 8, 10)


def test_without_a_stride_two_thirds_of_the_history_are_trained_on() -> None:
    assert hold_out(history(300), 30, 8, 0).stride == 10
    assert hold_out(history(3000), 30, 8, 0).stride == 30


@pytest.mark.parametrize(
    ("minutes", "windows", "stride"), [(300, 8, 10), (900, 10, 30), (4000, 44, 30), (20160, 56, 30)]
)
def test_without_a_number_there_are_as_many_windows_as_leave_two_thirds_to_training(minutes, windows, stride) -> None:
    split = hold_out(history(minutes), 30, 0, 0)
    assert (len(split.origins), split.stride) == (windows, stride)


@given(st.integers(220, 30000), st.integers(0, 60))
def test_without_a_number_a_long_enough_history_is_never_refused(length, stride) -> None:
    try:
        hold_out(History(START, np.arange(float(length))), 30, 8, stride)
    except Refused:
        assume(False)
    split = hold_out(History(START, np.arange(float(length))), 30, 0, stride)
    assert 8 <= len(split.origins) <= 56
    assert split.first >= length * 2 // 3 or len(split.origins) == 8


def test_fewer_than_eight_windows_are_refused() -> None:
    with pytest.raises(Refused, match="at least 8 windows"):
        hold_out(history(1000), 30, 7, 10)


def test_windows_in_which_nothing_came_are_left_out_and_too_many_of_them_are_refused() -> None:
    series = history(1000)
    series.target[-30:] = np.nan
    assert len(hold_out(series, 30, 9, 30).origins) == 8
    with pytest.raises(Refused, match="Only 7 of the 8"):
        hold_out(series, 30, 8, 30)


def test_missing_minutes_do_not_count_as_training() -> None:
    series = history(300)
    series.target[:150] = np.nan
    with pytest.raises(Refused, match="there are 50 to train on: wait 70 minutes more"):
        hold_out(series, 30, 8, 10)


def test_each_request_ends_where_its_window_begins_and_holds_a_day_at_most() -> None:
    series = History(START, np.arange(3000.0))
    split = hold_out(series, 30, 8, 30)
    instances = [json.loads(line) for line in transform_input(series, split).splitlines()]
    assert [instance["target"][-1] + 1 for instance in instances] == split.origins
    assert {len(instance["target"]) for instance in instances} == {CONTEXT}
    assert instances[0]["start"] == f"{series.moment(split.origins[0] - CONTEXT):%Y-%m-%d %H:%M:%S}"


def test_the_test_channel_ends_with_each_window() -> None:
    series = History(START, np.arange(500.0))
    split = hold_out(series, 30, 8, 10)
    ends = [json.loads(line)["target"][-1] + 1 for line in evaluation_channel(series, split).splitlines()]
    assert ends == [origin + 30 for origin in split.origins]


def test_the_packaged_baseline_is_the_one_that_did_best_in_the_windows() -> None:
    level = np.where(np.arange(2000) < 1800, 1000.0, 10.0) + np.random.default_rng(1).normal(0, 1, 2000)
    series = History(START, level)
    assert best_hours(series, hold_out(series, 30, 8, 10), QUANTILES) == 1


def test_the_packaged_baseline_takes_an_hour_where_nothing_reaches_back() -> None:
    series = history(500)
    series.target[::2] = np.nan
    series.target[1::4] = np.nan
    assert best_hours(series, hold_out(series, 10, 8, 10), QUANTILES) == 1
