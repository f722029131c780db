"""Requests are dealt out so that every share is met as exactly as whole requests allow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.traffic import Fleet, NoVariant, Traffic, Variant


def variant(name: str, weight: float = 1.0, *, shadow: bool = False) -> Variant:
    return Variant(name, weight, Path(name), cast(Any, None), cast(Any, None), shadow)


def deal(traffic: Traffic, count: int, target: str | None = None) -> Counter[Variant]:
    dealt: Counter[Variant] = Counter()
    for _ in range(count):
        with traffic.take(target) as taken:
            dealt[taken.variant] += 1
    return dealt


@given(st.integers(1, 50), st.integers(1, 200))
def test_a_canary_gets_its_share_of_any_number_of_requests(percent: int, count: int) -> None:
    old, new = variant("v"), variant("v")
    traffic = Traffic("e")
    traffic.route([(Fleet({}, [old]), 1 - percent / 100), (Fleet({}, [new]), percent / 100)])
    dealt = deal(traffic, count)
    assert abs(dealt[new] - count * percent / 100) <= 1
    assert dealt[old] + dealt[new] == count


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(sum), st.integers(1, 60))
def test_variants_share_requests_by_weight(weights: list[int], count: int) -> None:
    variants = [variant(str(index), weight) for index, weight in enumerate(weights)]
    traffic = Traffic("e")
    traffic.route([(Fleet({}, variants), 1.0)])
    dealt = deal(traffic, count)
    for one in variants:
        assert abs(dealt[one] - count * one.weight / sum(weights)) <= 1 if one.weight else not dealt[one]


def test_a_named_variant_is_asked_in_both_fleets_by_their_shares() -> None:
    old, new, other = variant("v", 0), variant("v"), variant("w")
    traffic = Traffic("e")
    traffic.route([(Fleet({}, [old, other]), 0.75), (Fleet({}, [new]), 0.25)])
    assert deal(traffic, 8, "v") == {old: 6, new: 2}
    with pytest.raises(NoVariant, match="Variant x was not found"):
        deal(traffic, 1, "x")


@given(st.integers(0, 100), st.integers(1, 100))
def test_a_shadow_gets_copies_by_its_weight_and_never_a_request(percent: int, count: int) -> None:
    serving, shadow = variant("v", 2), variant("s", 2 * percent / 100, shadow=True)
    traffic = Traffic("e")
    traffic.route([(Fleet({}, [serving, shadow]), 1.0)])
    copies = 0
    for _ in range(count):
        with traffic.take(None) as taken:
            assert taken.variant is serving
            copies += len(taken.shadows)
            for one in taken.shadows:
                traffic.release(one)
    assert abs(copies - count * percent / 100) < 1 + 1e-6
    assert serving.requests == shadow.requests == 0
    with pytest.raises(NoVariant):
        deal(traffic, 1, "s")
