"""Batches are as full as the limits allow, and only what failed is sent again."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ingestion.bus import ENTRY_BYTES, EVENT_BYTES, REQUEST_BYTES, Packed, packed
from ingestion.delivery import chunks, deliver, fitting
from loopcast.names import Names

NAMES = Names("bitcoin-fees", "000000000000")


@given(sizes=st.lists(st.integers(1, 100), min_size=1), most=st.integers(1, 10), most_bytes=st.integers(1, 300))
def test_a_request_is_full_and_within_the_limits(sizes: list[int], most: int, most_bytes: int) -> None:
    count = fitting(sizes, most, most_bytes)
    assert 1 <= count <= most
    assert sum(sizes[:count]) <= most_bytes or count == 1
    if count < len(sizes):
        assert count == most or sum(sizes[: count + 1]) > most_bytes


@given(items=st.lists(st.integers()), most=st.integers(1, 7))
def test_chunks_are_the_whole_in_its_order(items: list[int], most: int) -> None:
    assert [item for chunk in chunks(items, most) for item in chunk] == items
    assert all(0 < len(chunk) <= most for chunk in chunks(items, most))


@given(lengths=st.lists(st.integers(2, EVENT_BYTES), max_size=40))
def test_events_are_packed_in_order_into_entries_that_fit(lengths: list[int]) -> None:
    events = [Packed(str(number), b"0" * length) for number, length in enumerate(lengths)]
    entries = list(packed(NAMES, events))
    assert [event for entry in entries for event in entry.events] == events
    assert all(entry.size <= REQUEST_BYTES for entry in entries)
    assert all(entry.size <= ENTRY_BYTES or len(entry.events) == 1 for entry in entries)


@given(failures=st.lists(st.sets(st.integers(0, 30)), max_size=5), count=st.integers(0, 30))
def test_each_item_is_taken_once_whatever_fails(failures: list[set[int]], count: int) -> None:
    taken: list[int] = []
    rounds = iter(failures)

    def send(items: Sequence[int]) -> list[int]:
        failing = next(rounds, set())
        taken.extend(item for item in items if item not in failing)
        return [item for item in items if item in failing]

    assert deliver(range(count), lambda items: min(len(items), 7), send, lambda seconds: True) == []
    assert sorted(taken) == list(range(count))


def test_what_was_left_when_time_is_up_is_told() -> None:
    left = deliver([1, 2, 3], len, lambda items: [item for item in items if item != 2], lambda seconds: False)
    assert left == [1, 3]
