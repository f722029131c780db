"""A model must earn its place."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.gate.gate import PENDING, REJECTED, ceiling, decide, objections
from components.run import Refused
from loopcast import aws
from loopcast.feed import Feed, parse_feed
from loopcast.names import Names

losses = st.floats(0.001, 10)
known = st.dictionaries(st.sampled_from(["persistence", "empirical_1h", "empirical_6h"]), losses, min_size=1)


@given(losses, known, st.none() | losses, st.none() | losses)
def test_a_model_passes_exactly_when_it_is_below_every_limit(loss, baselines, production, ceiling) -> None:
    limits = [min(baselines.values()), *(limit for limit in (production, ceiling) if limit is not None)]
    assert (not objections(loss, baselines, production, ceiling)) == all(loss < limit for limit in limits)


@given(losses, known, losses, st.floats(1.001, 10))
def test_a_better_model_never_fails_where_a_worse_one_passes(loss, baselines, production, factor) -> None:
    if not objections(loss * factor, baselines, production, None):
        assert not objections(loss, baselines, production, None)


@given(known, losses, losses)
def test_exactly_one_model_waits_for_approval_unless_production_is_better_than_all(
    baselines, candidate, empirical
) -> None:
    found = decide({"candidate": candidate, "empirical": empirical, **baselines}, None)
    assert [entry["status"] for entry in found["register"]].count(PENDING) == 1


def test_a_candidate_that_passes_is_registered_alone() -> None:
    found = decide({"candidate": 0.1, "empirical": 0.2, "persistence": 0.3}, None)
    assert found["passed"]
    assert found["register"] == [{"role": "candidate", "status": PENDING, "reasons": []}]


def test_a_rejected_candidate_is_registered_with_its_reasons_and_the_baseline_in_its_place() -> None:
    found = decide({"candidate": 0.3, "empirical": 0.2, "persistence": 0.5}, None)
    candidate, baseline = found["register"]
    assert (candidate["role"], candidate["status"]) == ("candidate", REJECTED)
    assert candidate["reasons"] == ["Its loss of 0.3 is not below the best baseline's, empirical with 0.2."]
    assert (baseline["role"], baseline["status"]) == ("empirical", PENDING)


def test_nothing_waits_for_approval_where_the_model_in_production_is_better_than_both() -> None:
    found = decide({"candidate": 0.3, "empirical": 0.2, "production": 0.1}, None)
    assert [entry["status"] for entry in found["register"]] == [REJECTED, REJECTED]
    assert "in production" in found["register"][1]["reasons"][0]


def test_the_ceiling_holds_for_the_baseline_too() -> None:
    found = decide({"candidate": 0.3, "empirical": 0.2}, 0.15)
    assert "ceiling of 0.15" in found["register"][1]["reasons"][0]


def test_a_tie_does_not_pass() -> None:
    assert objections(0.2, {"persistence": 0.2}, None, None)


def test_a_loss_that_is_no_number_never_passes() -> None:
    assert objections(None, {"persistence": 0.2}, None, None)
    assert objections(math.nan, {}, None, None)


def test_a_baseline_without_a_loss_does_not_count() -> None:
    assert not objections(0.2, {"persistence": None}, None, None)


@pytest.fixture
def limited_feed() -> Feed:
    text = Path("feeds/bitcoin-fees.yaml").read_text()
    return parse_feed(text.replace("thresholds: {}", "thresholds: {max_loss: 0.4}"))


@pytest.mark.usefixtures("aws")
def test_the_ceiling_in_ssm_goes_before_the_feeds(limited_feed: Feed) -> None:
    names = Names("ceiling", "000000000000")
    assert ceiling(limited_feed, names) == 0.4
    put_ceiling(names, "0.25")
    assert ceiling(limited_feed, names) == 0.25


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("text", ["low", "nan"])
def test_a_ceiling_that_is_no_number_is_refused(limited_feed: Feed, text: str) -> None:
    names = Names("no-ceiling", "000000000000")
    put_ceiling(names, text)
    with pytest.raises(Refused, match=f"/loopcast/no-ceiling/thresholds/max_loss must be a number, not '{text}'"):
        ceiling(limited_feed, names)


def put_ceiling(names: Names, value: str) -> None:
    name = names.parameter("thresholds", "max_loss")
    aws.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
