"""A recomputed minute has exactly the numbers that its window had."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.aggregate import aggregate
from loopcast.feed import parse_feed
from tests.ingestion.test_source import FEED
from tests.loopcast.test_feed import WIND_FARM


def event(fee: int, virtual_size: int) -> dict[str, int | float]:
    return {"fee": fee, "virtual_size": virtual_size}


def test_the_default_feeds_metrics() -> None:
    found = aggregate(FEED, [event(100, 200), event(101, 100), event(0, 100)])
    assert found == {"transaction_count": 3, "total_fee": 201, "average_fee": 67.0, "average_fee_rate": 0.5025}


def test_a_sum_over_32_bits_is_exact_and_an_average_keeps_its_fraction() -> None:
    found = aggregate(FEED, [event(21_000_000 * 10**8, 1), event(2_147_483_648, 1), event(1, 1)])
    assert found["total_fee"] == 2_100_002_147_483_649
    assert aggregate(FEED, [event(1, 1), event(2, 1)])["average_fee"] == 1.5


def test_a_ratio_to_nothing_is_left_out() -> None:
    assert "average_fee_rate" not in aggregate(FEED, [event(1, 0)])


@given(fees=st.lists(st.integers(0, 10**13), min_size=1, max_size=300))
def test_an_average_is_the_nearest_number_to_the_true_one(fees: list[int]) -> None:
    found = aggregate(FEED, [event(fee, 1) for fee in fees])
    assert found["average_fee"] == pytest.approx(float(Fraction(sum(fees), len(fees))), rel=1e-15)


def test_another_feed_has_its_own_metrics() -> None:
    feed = parse_feed(WIND_FARM)
    values = dict.fromkeys(feed.event.values, 2)
    found = aggregate(feed, [values, values])
    assert found.keys() == feed.metrics.keys()
