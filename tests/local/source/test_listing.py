from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from local.source.arrivals import Arrivals
from local.source.clock import MICROSECONDS
from local.source.ledger import Ledger, read
from local.source.listing import Listing
from local.source.regime import Regime, Timeline
from tests.local.source.conftest import SEED, START, Source

BEGIN = datetime.fromtimestamp(START, UTC)
visits = st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["whole", "cut", "killed"])), min_size=1, max_size=25)


@settings(max_examples=20, deadline=None)
@given(visits, st.floats(1.1, 2000), st.integers(2, 150))
def test_at_a_speed_up_no_more_than_half_a_page_arrives_between_two_whole_answers(simulated, visits, speed, page_size):
    with tempfile.TemporaryDirectory() as folder:
        source = Source(simulated, Path(folder) / "ledger.db", speed, page_size)
        seen: set[str] = set()
        for seconds, fate in visits:
            source.wall.pass_by(seconds)
            listed = source.answer(whole=fate == "whole")
            assert len(set(listed) - seen) <= page_size // 2
            if fate == "whole":
                seen |= set(listed)
            if fate == "killed":
                source.reopen(speed)
        status = source.listing.status()
        assert (status.listed, status.unlisted) == (len(seen), 0)
        assert status.arrived - status.listed <= page_size // 2
        assert set(source.ledger()) == seen
        source.listing.close()


@settings(max_examples=20, deadline=None)
@given(visits, st.floats(0.5, 20))
def test_the_ledger_is_the_union_of_the_answers_that_were_sent_whole(simulated, visits, pace):
    with tempfile.TemporaryDirectory() as folder:
        source = Source(simulated, Path(folder) / "ledger.db", 1.0)
        union: dict[str, None] = {}
        for seconds, fate in visits:
            source.wall.pass_by(seconds * pace)
            listed = source.answer(whole=fate == "whole")
            union |= dict.fromkeys(reversed(listed) if fate == "whole" else [])
            if fate == "killed":
                source.reopen(1.0)
        assert source.ledger() == list(union)
        status = source.listing.status()
        assert status.listed == len(union)
        assert status.unlisted <= status.arrived - status.listed <= status.unlisted + 100
        source.listing.close()


def test_the_page_is_the_newest_hundred_newest_first(source):
    running = source(speed=1.0)
    running.wall.pass_by(600)
    page = running.listing.page()
    moments = [arrival.moment for arrival in page.arrivals]
    assert len(moments) == 100
    assert moments == sorted(moments)
    assert page.arrivals[-1].number == page.end - 1


def test_arrivals_that_nobody_asked_for_at_real_time_are_counted_apart(source):
    running = source(speed=1.0)
    running.wall.pass_by(600)
    running.answer()
    status = running.listing.status()
    assert status.unlisted == status.arrived - 100 > 0
    assert len(running.ledger()) == 100


def test_the_clock_says_that_it_waits_for_an_answer(source):
    running = source(speed=1000)
    running.wall.pass_by(60)
    assert running.listing.status().waiting_for == "answer"
    first = running.listing.status().event_time
    running.wall.pass_by(60)
    assert running.listing.status().event_time == first


def test_event_time_holds_where_it_is_told_and_everything_before_is_listed(source):
    running = source(speed=1.0)
    running.listing.hold_at((START + 60) * MICROSECONDS)
    running.wall.pass_by(600)
    status = running.listing.status()
    assert (status.event_time, status.waiting_for) == (BEGIN + timedelta(minutes=1), "until")
    assert all(arrival.time < START + 60 for arrival in running.listing.page().arrivals)
    running.listing.hold_at(None)
    running.wall.pass_by(5)
    assert running.listing.status().event_time == BEGIN + timedelta(seconds=65)


def test_a_hold_in_the_past_stops_event_time_where_it_is(source):
    running = source(speed=1.0)
    running.wall.pass_by(30)
    assert running.listing.status().event_time == BEGIN + timedelta(seconds=30)
    running.listing.hold_at(START * MICROSECONDS)
    running.wall.pass_by(30)
    assert running.listing.status().event_time == BEGIN + timedelta(seconds=30)


def test_event_time_never_passes_the_wall_clock(simulated, tmp_path):
    timeline, wall = Timeline(), iter([0.0, 3600.0])
    ledger = Ledger(tmp_path / "ledger.db")
    arrivals = Arrivals(simulated, START, SEED, timeline)
    listing = Listing(
        arrivals, ledger, timeline, page_size=100, speed=1.0, monotonic=lambda: next(wall), now=lambda: START + 90.0
    )
    status = listing.status()
    assert (status.event_time, status.waiting_for) == (BEGIN + timedelta(seconds=90), "wall_clock")


def test_a_restart_goes_on_as_if_there_had_been_none(source):
    running, other = source(speed=300), source(speed=300, name="other.db")
    for step in range(40):
        for each in (running, other):
            each.wall.pass_by(0.5)
            each.answer()
        if step % 10 == 5:
            running.reopen(300)
            running.answer()
            other.answer()
    shorter, longer = sorted([running.ledger(), other.ledger()], key=len)
    assert len(shorter) > 1000
    assert longer[: len(shorter)] == shorter


def test_what_an_interrupted_answer_listed_is_in_the_first_answer_after_the_restart(source):
    running = source(speed=1.0)
    running.wall.pass_by(300)
    interrupted = running.answer(whole=False)
    running.reopen(1.0)
    running.wall.pass_by(300)
    assert running.answer() == interrupted
    running.wall.pass_by(300)
    assert not set(running.answer()) & set(interrupted)


def test_a_regime_that_was_switched_on_holds_after_a_restart(source):
    running = source(speed=1.0)
    running.wall.pass_by(30)
    running.listing.change_regime(Regime(fees=3, volume=0.5))
    running.wall.pass_by(90)
    running.answer()
    before = read(running.path)
    running.reopen(1.0)
    running.answer()
    assert running.listing.status().regime == Regime(fees=3, volume=0.5)
    assert read(running.path) == before


def test_a_regime_changes_what_arrives_at_once(source):
    changed, usual = source(speed=1.0), source(speed=1.0, name="usual.db")
    changed.wall.pass_by(60)
    usual.wall.pass_by(60)
    begun = changed.listing.status().arrived
    assert usual.listing.status().arrived == begun
    changed.listing.change_regime(Regime(volume=0.01))
    changed.wall.pass_by(120)
    usual.wall.pass_by(120)
    assert usual.listing.status().arrived - begun > 10 * (changed.listing.status().arrived - begun)
