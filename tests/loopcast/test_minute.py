"""A minute has one key a slot of the day, an event time that a repair moves, and exact numbers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopcast.feed import load_feed, parse_feed
from loopcast.minute import SLOTS, BadMinute, feature_definitions, parse_minute, record_id
from tests.loopcast.test_feed import WIND_FARM

FEED = load_feed(Path(__file__).parents[2] / "feeds" / "bitcoin-fees.yaml")


def document(**changes: Any) -> dict[str, Any]:
    whole = {
        "series_id": "bitcoin-fees",
        "minute_start": "2026-11-21T10:01:00Z",
        "revision": 0,
        "transaction_count": 3,
        "total_fee": 2**40,
        "average_fee": 2**40 / 3,
        "average_fee_rate": 2.5,
    }
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def record(**changes: Any) -> dict[str, str]:
    minute = parse_minute(FEED, document(**changes))
    return {feature["FeatureName"]: feature["ValueAsString"] for feature in minute.to_record()}


@pytest.mark.parametrize("undefined", [None, ...], ids=["null", "absent"])
def test_a_ratio_to_nothing_is_no_feature_and_costs_the_minute_nothing(undefined: Any) -> None:
    found = record(average_fee_rate=undefined)
    assert "average_fee_rate" not in found
    assert found["transaction_count"] == "3"


def test_a_minute_survives_its_way_through_the_stream() -> None:
    assert parse_minute(FEED, json.loads(json.dumps(document()))).to_json() == document()


def test_the_event_time_is_the_windows_end_and_never_the_wall_clock() -> None:
    assert record()["event_time"] == "2026-11-21T10:02:00.000Z"


def test_a_repair_has_a_later_event_time_and_the_same_key() -> None:
    assert record(revision=7)["event_time"] == "2026-11-21T10:02:00.007Z"
    assert record(revision=7)["record_id"] == record()["record_id"] == "bitcoin-fees#0601"


def test_a_total_above_32_bits_and_a_fraction_are_exact() -> None:
    assert int(record()["total_fee"]) == 2**40
    assert float(record()["average_fee"]) == 2**40 / 3


def test_every_feature_of_a_record_is_declared_with_its_type() -> None:
    declared = {item["FeatureName"]: item["FeatureType"] for item in feature_definitions(FEED)}
    assert set(declared) == set(record())
    assert declared["total_fee"] == "Integral"
    assert declared["average_fee"] == "Fractional"
    assert {item["FeatureName"] for item in feature_definitions(parse_feed(WIND_FARM))} > {"power_per_gust"}


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_keys_are_bounded_to_a_day_and_unique_within_it(moment: datetime) -> None:
    minute = moment.replace(second=0, microsecond=0)
    keys = {record_id("s", minute + timedelta(minutes=slot)) for slot in range(SLOTS)}
    assert len(keys) == SLOTS
    assert record_id("s", minute + timedelta(days=1)) == record_id("s", minute)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total_fee": ...}, "total_fee is missing"),
        ({"total_fee": "1"}, "not a number"),
        ({"average_fee": float("nan")}, "not a number"),
        ({"transaction_count": -1}, "not a count"),
        ({"transaction_count": 1.5}, "not a count"),
        ({"total_fee": 2**63}, "over 64 bits"),
        ({"minute_start": "2026-11-21T10:01:30Z"}, "whole minute"),
        ({"minute_start": "2026-11-21T10:01:00"}, "time zone"),
        ({"minute_start": "soon"}, "soon"),
        ({"revision": -1}, "revision"),
        ({"series_id": ""}, "series_id"),
        ({"surprise": 1}, "unknown fields: surprise"),
    ],
)
def test_a_minute_that_cant_be_used_says_why(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadMinute, match=said):
        parse_minute(FEED, document(**changes))
