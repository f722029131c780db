from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from local.source.arrivals import Arrivals
from local.source.clock import MICROSECONDS
from local.source.generators import SLOT_SECONDS, Simulated
from local.source.recordings import recorded_fee
from local.source.regime import Regime, Timeline
from loopcast.event import normalize
from loopcast.feed import load_feed
from tests.local.source.conftest import SEED, START


def arrivals_of(generator, seed=SEED, *changes):
    return Arrivals(generator, START, seed, Timeline(changes))


def texts(arrivals, slot):
    return [arrivals.render(arrival) for arrival in arrivals.slot(slot)]


def test_the_same_seed_and_start_give_the_same_transactions_byte_by_byte(calibration, simulated):
    other = Simulated(calibration, START, SEED)
    assert texts(arrivals_of(simulated), 7) == texts(arrivals_of(other), 7)


def test_another_seed_gives_other_transactions(calibration, simulated):
    other = Simulated(calibration, START, SEED + 1)
    mine, theirs = texts(arrivals_of(simulated), 0), texts(arrivals_of(other, SEED + 1), 0)
    assert not set(mine) & set(theirs)


def test_arrivals_are_in_order_with_distinct_moments_and_hashes(simulated):
    arrivals = arrivals_of(simulated)
    found = [arrival for slot in range(5) for arrival in arrivals.slot(slot)]
    moments = [arrival.moment for arrival in found]
    assert moments == sorted(set(moments))
    assert len({arrival.hash for arrival in found}) == len(found) > 500


def test_a_transaction_pays_what_its_inputs_have_over_its_outputs_and_weighs_what_it_says(simulated):
    arrivals = arrivals_of(simulated)
    for arrival in arrivals.slot(1):
        document = json.loads(arrivals.render(arrival))
        stated = {name: document[name] for name in ("hash", "time", "fee", "size", "weight")}
        assert stated == {name: getattr(arrival, name) for name in stated}
        assert recorded_fee({**document, "fee": None}) == arrival.fee
        assert (document["vin_sz"], document["vout_sz"]) == (len(document["inputs"]), len(document["out"]))
        assert document["weight"] == 3 * stripped_size(document) + document["size"]
        assert document["block_height"] is None


def stripped_size(transaction):
    """The bytes of a transaction without its witnesses."""
    scripts = [item["script"] for item in transaction["inputs"] + transaction["out"]]
    return 10 + 40 * len(transaction["inputs"]) + 8 * len(transaction["out"]) + sum(len(s) // 2 + 1 for s in scripts)


def test_the_feed_understands_every_transaction(simulated):
    feed, arrivals = load_feed("feeds/bitcoin-fees.yaml"), arrivals_of(simulated)
    for arrival in arrivals.slot(2):
        event = normalize(feed, json.loads(arrivals.render(arrival)), now_ms=arrival.time * 1000)
        assert (event.id, event.values["fee"]) == (arrival.hash, arrival.fee)
        assert event.values["virtual_size"] == -(-arrival.weight // 4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 2 * SLOT_SECONDS * MICROSECONDS), max_size=3), st.floats(0.1, 10), st.floats(0.1, 4))
def test_a_change_of_regime_leaves_what_arrived_before_it_as_it_was(simulated, after, fees, volume):
    moments = sorted(START * MICROSECONDS + offset for offset in after)
    for count in range(len(moments)):
        before = arrivals_of(simulated, SEED, *[(m, Regime(fees=fees, volume=volume)) for m in moments[:count]])
        changed = arrivals_of(simulated, SEED, *[(m, Regime(fees=fees, volume=volume)) for m in moments[: count + 1]])
        for slot in range(2):
            expected = [arrival for arrival in before.slot(slot) if arrival.moment < moments[count]]
            assert [arrival for arrival in changed.slot(slot) if arrival.moment < moments[count]] == expected


def test_a_regime_multiplies_fees_and_arrivals_from_its_moment_on(simulated):
    changed = arrivals_of(simulated, SEED, (START * MICROSECONDS, Regime(fees=3, volume=0.5)))
    usual = [a for slot in range(24) for a in arrivals_of(simulated).slot(slot)]
    after = [a for slot in range(24) for a in changed.slot(slot)]
    assert 0.4 < len(after) / len(usual) < 0.6
    assert 2.5 < np.median([a.fee for a in after]) / np.median([a.fee for a in usual]) < 3.5


@given(st.integers(0, 4 * SLOT_SECONDS), st.integers(1, 500))
@settings(max_examples=20, deadline=None)
def test_the_newest_before_a_moment_are_the_end_of_all_that_arrived_before_it(simulated, seconds, count):
    arrivals, moment = arrivals_of(simulated), (START + seconds) * MICROSECONDS
    everything = [a for slot in range(4) for a in arrivals.slot(slot) if a.moment < moment]
    assert arrivals.newest_before(moment, count) == everything[-count:]
