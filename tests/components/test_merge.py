"""A minute has one value, whatever the two stores hold of it and in whatever order."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.columns import Columns, contiguous
from components.history import History
from components.read_features.merge import ONLINE, Row, minute_of, newest, since
from loopcast.minute import Minute

START = datetime(2026, 11, 21, 23, 50, tzinfo=UTC)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    minutes = draw(st.lists(st.integers(0, 20), max_size=40))
    return [
        Row(
            minute=(minute := START + timedelta(minutes=index)),
            event_time=minute + timedelta(minutes=1, milliseconds=draw(st.integers(0, 2))),
            written=draw(st.sampled_from(["2026-11-22 00:00:01", "2026-11-22 00:00:02", ONLINE])),
            values=draw(st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 5).map(float))),
        )
        for index in minutes
    ]


@given(rows(), st.randoms())
def test_the_order_and_the_repetition_of_rows_change_nothing(given_rows, random) -> None:
    shuffled = [*given_rows, *given_rows]
    random.shuffle(shuffled)
    assert newest(shuffled) == newest(given_rows)


@given(rows())
def test_a_minute_has_the_values_of_its_newest_write(given_rows) -> None:
    for minute, values in newest(given_rows).items():
        own = [row for row in given_rows if row.minute == minute]
        last = max((row.event_time, row.written) for row in own)
        assert values in [row.values for row in own if (row.event_time, row.written) == last]


@given(rows())
def test_a_minute_is_absent_only_where_its_newest_write_deleted_it(given_rows) -> None:
    found = newest(given_rows)
    for minute in {row.minute for row in given_rows} - set(found):
        own = [row for row in given_rows if row.minute == minute]
        last = max((row.event_time, row.written) for row in own)
        assert None in [row.values for row in own if (row.event_time, row.written) == last]


@given(st.integers(0, 3000), st.integers(0, 500))
def test_a_write_belongs_to_the_minute_that_it_was_made_for(index: int, revision: int) -> None:
    minute = Minute("parcels", START + timedelta(minutes=index), revision, {})
    assert minute_of(minute.record_id, minute.event_time) == minute.start


@given(st.integers(0, 3000), st.integers(0, 24 * 3600 - 1))
def test_a_deletion_belongs_to_the_newest_minute_of_its_slot_at_that_time(index: int, later: int) -> None:
    minute = Minute("parcels", START + timedelta(minutes=index), 0, {})
    assert minute_of(minute.record_id, minute.event_time + timedelta(seconds=later)) == minute.start


def test_a_repair_wins_over_the_windows_own_write() -> None:
    first = Row(START, START + timedelta(minutes=1), ONLINE, {"a": 1.0})
    repair = Row(START, START + timedelta(minutes=1, milliseconds=3), "2026-11-22 00:00:00", {"a": 2.0})
    assert newest([repair, first]) == {START: {"a": 2.0}}


@given(st.dictionaries(st.integers(0, 200), st.floats(0, 1e6), min_size=1))
def test_minutes_that_never_came_are_nan_and_the_others_stand_where_they_belong(values) -> None:
    columns = contiguous({START + timedelta(minutes=index): {"a": value} for index, value in values.items()}, ["a"])
    history = columns.history("a")
    assert history.start == columns.start == START + timedelta(minutes=min(values))
    assert len(history) == len(columns) == max(values) - min(values) + 1
    assert history.known == columns.came.sum() == len(values)
    for index, value in values.items():
        assert history.target[index - min(values)] == value


def test_a_metric_that_is_undefined_in_a_minute_that_came_is_nan() -> None:
    columns = contiguous({START: {"a": 1.0, "b": 2.0}, START + timedelta(minutes=1): {"a": 3.0}}, ["a", "b"])
    np.testing.assert_array_equal(columns.values["b"], [2.0, np.nan])
    np.testing.assert_array_equal(columns.came, [1.0, 1.0])


def test_only_the_lookback_before_the_newest_minute_is_kept() -> None:
    minutes = {START + timedelta(minutes=index): {"a": float(index)} for index in range(10)}
    assert [row["a"] for row in since(minutes, timedelta(minutes=3)).values()] == [7.0, 8.0, 9.0]


def test_columns_and_a_history_survive_their_json_form() -> None:
    columns = contiguous({START: {"a": 1.5}, START + timedelta(minutes=2): {"a": 2.0, "b": 1.0}}, ["a", "b"])
    document = json.loads(json.dumps({**columns.to_json(), **columns.history("a").to_json()}, allow_nan=False))
    again = Columns.from_json(document)
    assert again.start == columns.start
    for name, column in columns.values.items():
        np.testing.assert_array_equal(again.values[name], column)
    history = History.from_json(document)
    assert history.to_instance() == {"start": "2026-11-21 23:50:00", "target": [1.5, None, 2.0]}
