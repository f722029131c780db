"""The check against the ledger finds each kind of loss, repeat and error, and nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import flow as flows
from local.flow import Counters, Flow, check, measured
from loopcast.feed import load_feed

FEEDS = Path(__file__).parents[2]
BITCOIN = load_feed(FEEDS / "feeds" / "bitcoin-fees.yaml")
HARBOUR = load_feed(FEEDS / "tests" / "flink" / "harbour.yaml")
START = 1_732_000_020  # a whole minute
UNTIL = START + 3 * 60


def ledger_of(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    """Rows of (second, fee, weight); the hash is the row's number."""
    frame = pd.DataFrame(rows, columns=["time", "fee", "weight"]).astype("int64")
    frame["time"] += START
    frame["hash"] = [f"{number:064x}" for number in range(len(frame))]
    return frame


def truth(ledger: pd.DataFrame) -> pd.DataFrame:
    return flows.truth(measured(ledger, BITCOIN), BITCOIN)


LEDGER = ledger_of([(0, 500, 401), (59, 2**40, 800), (60, 1, 4), (130, 7, 404), (190, 9, 400)])


def flow(ledger: pd.DataFrame, written: pd.DataFrame, archived: list[str] | None = None) -> Flow:
    count = len(ledger)
    counters = Counters(polled=count, published=count, deduplicated=count, late=0, gaps=0)
    hashes = list(ledger["hash"]) if archived is None else archived
    return check(BITCOIN, measured(ledger, BITCOIN), hashes, written, written, counters, closed_until=UNTIL)


def test_a_flow_in_which_all_is_right_is_exact() -> None:
    found = flow(LEDGER, truth(LEDGER))
    assert found.exact
    assert (found.minutes, found.listed, found.archived, found.windowed, found.written) == (3, 4, 4, 4, 4)


def test_minutes_that_are_still_open_are_left_out_everywhere() -> None:
    found = flow(LEDGER, truth(LEDGER))
    assert found.polled == found.published == found.deduplicated == found.listed == 4


def test_the_truth_is_exact_above_32_bits_and_rounds_the_virtual_size_up() -> None:
    minute = truth(LEDGER).iloc[0]
    assert minute["total_fee"] == 2**40 + 500
    assert minute["average_fee_rate"] == (2**40 + 500) / (101 + 200)


def test_a_transaction_that_is_not_in_the_archive_is_lost() -> None:
    found = flow(LEDGER, truth(LEDGER), archived=list(LEDGER["hash"][1:]))
    assert (found.lost, found.exact) == (1, False)


def test_a_transaction_that_is_not_in_its_minute_is_lost_and_its_minute_wrong() -> None:
    found = flow(LEDGER, truth(LEDGER.drop(index=1)))
    assert (found.lost, found.wrong_minutes) == (1, 1)


def test_a_minute_that_is_not_there_is_wrong() -> None:
    found = flow(LEDGER, truth(LEDGER.drop(index=2)))
    assert (found.lost, found.wrong_minutes) == (1, 1)


def test_a_minute_that_should_not_be_there_is_wrong() -> None:
    found = flow(LEDGER.drop(index=2), truth(LEDGER))
    assert (found.duplicated, found.wrong_minutes) == (1, 1)


def test_a_transaction_counted_twice_is_found() -> None:
    twice = pd.concat([LEDGER, LEDGER.iloc[[0]].assign(hash="again")])
    found = flow(LEDGER, truth(twice))
    assert (found.duplicated, found.wrong_minutes, found.lost) == (1, 1, 0)


@pytest.mark.parametrize("column", ["total_fee", "average_fee", "average_fee_rate"])
def test_a_number_that_is_off_makes_its_minute_wrong(column: str) -> None:
    stored = truth(LEDGER)
    stored[column] = stored[column].astype(float)
    stored.loc[START, column] += 0.5
    assert flow(LEDGER, stored).wrong_minutes == 1


def test_a_copy_in_the_archive_is_a_repeat_and_nothing_worse() -> None:
    found = flow(LEDGER, truth(LEDGER), archived=[*LEDGER["hash"], LEDGER["hash"][0]])
    assert (found.archive_repeats, found.exact) == (1, True)


rows = st.lists(st.tuples(st.integers(0, 179), st.integers(0, 10**9), st.integers(4, 4000)), min_size=2, max_size=40)


@given(rows, st.data())
def test_whatever_is_left_out_of_the_minutes_is_lost_to_the_last_one(
    drawn: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    ledger = ledger_of(drawn)
    missing = data.draw(st.sets(st.sampled_from(range(len(ledger))), max_size=len(ledger) - 1))
    found = flow(ledger, truth(ledger.drop(index=list(missing))))
    assert found.lost == len(missing)
    assert found.exact == (not missing)


def test_a_feed_of_other_names_is_checked_by_its_own_metrics() -> None:
    ledger = pd.DataFrame(
        {
            "hash": ["a", "b", "c"],
            "time": [START, START + 1, START + 60],
            "values.order": [10, 20, 5],
            "values.hours": [0.1, 0.2, 0.0],
        }
    )
    expected = flows.truth(ledger, HARBOUR)
    assert expected.loc[START].to_dict() == pytest.approx(
        {"lifts": 2, "total_order": 30, "total_hours": 0.3, "mean_order": 15, "pace": 100}
    )
    stored = expected.assign(total_hours=[0.3, 0.0])  # the same doubles, added in another order
    counters = Counters(polled=3, published=3, deduplicated=3, late=0, gaps=0)
    assert check(HARBOUR, ledger, ["a", "b", "c"], stored, stored, counters, closed_until=UNTIL).exact
    wrong = stored.assign(pace=[100.1, float("nan")])
    assert check(HARBOUR, ledger, ["a", "b", "c"], wrong, wrong, counters, closed_until=UNTIL).wrong_minutes == 1
