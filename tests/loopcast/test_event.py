"""An item of an answer becomes an event, or is rejected with a reason; nothing is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopcast.event import Rejected, normalize, parse_event
from loopcast.feed import load_feed, parse_feed
from tests.loopcast.test_feed import WIND_FARM

FEED = load_feed(Path(__file__).parents[2] / "feeds" / "bitcoin-fees.yaml")
NOW = 1_729_081_900_000


def transaction(**changes: Any) -> dict[str, Any]:
    spent = [{"prev_out": {"value": 5000}}, {"prev_out": {"value": 2500}}]
    whole = {
        "hash": "ab" * 32,
        "time": 1_729_081_889,
        "fee": 500,
        "weight": 521,
        "size": 200,
        "lock_time": 2_390_244_852,
        "inputs": spent,
        "out": [{"value": 7000, "addr": "bc1"}, {"value": 0}],
    }
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def reason(**changes: Any) -> str:
    with pytest.raises(Rejected) as caught:
        normalize(FEED, transaction(**changes), NOW)
    return caught.value.reason


def test_an_event_keeps_its_body_and_gains_its_values() -> None:
    event = normalize(FEED, transaction(), NOW)
    assert event.values == {"fee": 500, "virtual_size": 131}  # 521 / 4 is 130.25, rounded up
    assert event.time == 1_729_081_889_000
    assert {**transaction(), "loopcast": event.document["loopcast"]} == json.loads(event.to_json())


def test_a_missing_fee_is_what_goes_in_less_what_comes_out() -> None:
    assert normalize(FEED, transaction(fee=...), NOW).values["fee"] == 500
    assert normalize(FEED, transaction(fee=None), NOW).values["fee"] == 500


@pytest.mark.parametrize(
    "inputs", [[{"prev_out": None}], [{"prev_out": {"value": 9000}}, {}], None], ids=["coinbase", "partly", "absent"]
)
def test_a_fee_is_not_derived_from_a_part_of_the_inputs(inputs: Any) -> None:
    assert reason(fee=..., inputs=inputs) == "missing_fee"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hash": ...}, "bad_id"),
        ({"hash": ""}, "bad_id"),
        ({"hash": ["a"]}, "bad_id"),
        ({"hash": True}, "bad_id"),
        ({"hash": "half a pair: \ud800"}, "bad_id"),
        ({"time": ...}, "bad_time"),
        ({"time": "noon"}, "bad_time"),
        ({"time": -1}, "bad_time"),
        ({"time": NOW // 1000 + 61}, "clock_skew"),
        ({"fee": -1}, "bad_fee"),
        ({"fee": 1.5}, "bad_fee"),
        ({"fee": 2**63}, "bad_fee"),
        ({"fee": 10**400}, "bad_fee"),
        ({"time": 10**400}, "bad_time"),
        ({"fee": "500"}, "bad_fee"),
        ({"weight": ...}, "missing_virtual_size"),
        ({"fee": ..., "out": [{"value": 10**9}]}, "bad_fee"),
    ],
)
def test_what_cant_be_used_is_rejected_with_its_reason(changes: dict[str, Any], why: str) -> None:
    assert reason(**changes) == why


@pytest.mark.parametrize("raw", [None, 1, "text", [1]])
def test_an_item_that_is_no_object_is_rejected(raw: object) -> None:
    with pytest.raises(Rejected, match="not_an_object"):
        normalize(FEED, raw, NOW)


@given(fee=st.integers(0, 2**62), weight=st.integers(4, 4_000_000))
def test_an_event_survives_its_way_through_json(fee: int, weight: int) -> None:
    event = normalize(FEED, transaction(fee=fee, weight=weight), NOW)
    assert parse_event(json.loads(event.to_json())) == event


def test_a_number_that_json_cant_say_never_gets_on_the_way() -> None:
    with pytest.raises(ValueError, match="JSON"):
        normalize(FEED, transaction(extra=float("inf")), NOW).to_json()


def test_a_body_elsewhere_leaves_the_values_in_place() -> None:
    event = normalize(FEED, transaction(), NOW).with_body_at("s3://bucket/key")
    document = json.loads(event.to_json())
    assert "inputs" not in document
    assert document["hash"] == "ab" * 32
    assert document["loopcast"] == {**event.document["loopcast"], "body": "s3://bucket/key"}
    assert parse_event(document).values == {"fee": 500, "virtual_size": 131}


@pytest.mark.parametrize(
    "document",
    [None, {}, {"loopcast": 1}, {"loopcast": {"id": 1, "time": 1, "values": {}}},
     {"loopcast": {"id": "a", "time": 1, "values": {"fee": "1"}}}],
)  # fmt: skip
def test_what_is_no_event_is_rejected(document: object) -> None:
    with pytest.raises(Rejected, match="not_an_event"):
        parse_event(document)


def test_another_feed_reads_nested_fields_and_milliseconds() -> None:
    raw = {"meta": {"uuid": "x1"}, "taken_at": 1_729_081_889_123, "power": {"kilowatt": 1.5}, "gusts": 3}
    event = normalize(parse_feed(WIND_FARM), raw, NOW)
    assert (event.id, event.time, event.values) == ("x1", 1_729_081_889_123, {"power": 1.5, "gusts": 3})
