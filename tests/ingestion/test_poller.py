"""What the source lists is published once, whatever the source and AWS do."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion import bodies, poller
from ingestion.bus import EVENT_BYTES
from ingestion.delivery import GaveUp
from ingestion.listing import Recent, read_listing
from ingestion.pace import Pace
from ingestion.poller import BytesSent, Poller
from ingestion.source import Source
from loopcast import aws
from loopcast.service import STUCK_AFTER, Health, Part
from tests.conftest import Service
from tests.ingestion.conftest import World, ids, transaction, until
from tests.ingestion.faults import PUT_EVENTS, partial_failures, refused_call
from tests.ingestion.http_source import HttpSource, Script, cut, listing, text
from tests.ingestion.test_source import FEED

NOW_MS = 1_800_000_000_000


def page(first: int, last: int, **changes: Any) -> list[dict[str, Any]]:
    return [transaction(number, **changes) for number in range(first, last)]


@contextmanager
def polling(world: World, *scripts: Script) -> Iterator[Poller]:
    part = world.part("poller")
    with HttpSource(*scripts).serving() as server:
        source = Source(world.feed, server.url)
        yield Poller(part, source, Pace(0.0, 0.0, world.feed.source.page_size), BytesSent(part))
        source.close()


def published(world: World) -> list[str]:
    """The ids of the published events, in the order of their messages."""
    return [event["hash"] for event in world.queued()]


def counted(metric: Any, *labels: str) -> float:
    return float((metric.labels(*labels) if labels else metric)._value.get())


def test_a_transaction_listed_twice_is_published_once(world: World) -> None:
    with polling(world, listing(page(0, 100)), listing(page(60, 160))) as polled:
        polled.step()
        polled.step()
    found = published(world)
    assert set(found) == ids(range(160))
    assert len(found) == 160


def test_events_are_published_oldest_first(world: World) -> None:
    with polling(world, listing(page(0, 20))) as polled:
        polled.step()
    assert published(world) == [transaction(number)["hash"] for number in range(20)]


def test_a_poller_that_polls_is_alive_long_after_a_fault(world: World) -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    with polling(world, text("", 500), listing(page(0, 20))) as polled:
        polled._part = replace(polled._part, health=health)
        polled.step()
        now[0] = STUCK_AFTER + 1
        assert not health.live
        polled.step()
        assert health.live


@given(polls=st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_a_gap_is_counted_when_and_only_when_events_went_by_unseen(polls: list[int]) -> None:
    feed = FEED.model_copy(update={"source": FEED.source.model_copy(update={"page_size": 25})})
    recent, end, previous = Recent(1000), 25, 0
    for arrived in polls:
        found = read_listing(feed, page(max(0, end - 25), end)[::-1], recent, NOW_MS)
        assert found.gap == (previous > 0 and end - 25 >= previous)
        recent.remember([*found.known, *(fresh.event.id for fresh in found.fresh)])
        previous, end = end, end + arrived


def test_a_short_answer_is_no_gap() -> None:
    recent = Recent(10)
    recent.remember(["another"])
    assert not read_listing(FEED, page(0, 99), recent, NOW_MS).gap


def test_a_fixed_interval_would_miss_half_and_the_pace_misses_nothing(world: World) -> None:
    """A list that spans 7 s, for two minutes: the reference polled it every 15 s."""
    source, per_second = world.feed.source, 100 / 7
    pace = Pace(source.min_poll_interval, source.max_poll_interval, source.page_size)

    def seen(adaptive: bool) -> set[str]:
        now, recent, interval, found = 15.0, Recent(5000), 1.0, set()
        while now < 135:
            newest = int(now * per_second)
            answer = read_listing(world.feed, page(newest - 100, newest)[::-1], recent, NOW_MS)
            found |= {fresh.event.id for fresh in answer.fresh}
            recent.remember([*answer.known, *(fresh.event.id for fresh in answer.fresh)])
            interval = pace.after_answer(interval, len(answer.fresh), answer.gap) if adaptive else 15.0
            now += interval
        return found

    assert len(seen(adaptive=False)) < 0.55 * 120 * per_second
    everything = range(int(15 * per_second), int(130 * per_second))
    assert ids(everything) <= seen(adaptive=True)


def test_the_reasons_that_an_item_is_rejected_for_are_told_once(world: World) -> None:
    coinbase = transaction(2, fee=..., inputs=[{"prev_out": None}])
    ahead = transaction(3, time=4_000_000_000)
    items = [transaction(1), coinbase, ahead, "no object", transaction(4, hash="\ud800")]
    with polling(world, listing(items)) as polled:
        polled.step()
        polled.step()
    letters = world.dead_letters()
    assert sorted(letter.reason for letter in letters) == ["bad_id", "clock_skew", "missing_fee", "not_an_object"]
    assert all(letter.part == "poller" for letter in letters)
    assert coinbase in [json.loads(letter.body) for letter in letters]
    assert published(world) == [transaction(1)["hash"]]


def test_a_missing_fee_is_derived_and_a_late_clock_forgiven(world: World) -> None:
    with polling(world, listing([transaction(7, fee=...)])) as polled:
        polled.step()
    (event,) = world.queued()
    assert event["loopcast"]["values"]["fee"] == 1007


def test_an_item_that_was_rejected_is_published_once_it_is_sound(world: World) -> None:
    with polling(world, listing([transaction(1, fee=..., inputs=None)]), listing([transaction(1)])) as polled:
        polled.step()
        polled.step()
    assert published(world) == [transaction(1)["hash"]]


def test_only_failed_entries_are_sent_again(world: World) -> None:
    items = page(0, 100, note="x" * 3000)  # about six entries
    with polling(world, listing(items)) as polled, partial_failures(PUT_EVENTS, 1, 2) as faults:
        polled.step()
    assert sorted(published(world)) == sorted(ids(range(100)))
    assert len(faults.calls) > 1


def test_what_cant_be_published_stays_in_hand_until_it_is(world: World) -> None:
    with polling(world, listing(page(0, 10))) as polled, refused_call("events", "PutEvents", times=3) as calls:
        polled.step()
    assert len(calls) == 4
    assert sorted(published(world)) == sorted(ids(range(10)))


def test_a_stop_does_not_wait_for_ever_for_what_cant_be_published(world: World) -> None:
    with polling(world, listing(page(0, 10))) as polled, refused_call("events", "PutEvents", times=1000):
        polled._part.stop.request()
        with pytest.raises(GaveUp, match="10 events"):
            polled.step()


def test_an_id_counts_as_published_only_after_success(world: World) -> None:
    with polling(world, listing(page(0, 10))) as polled:
        polled._part.stop.request()
        with refused_call("events", "PutEvents", times=1000), pytest.raises(GaveUp):
            polled.step()
        before = counted(poller.PUBLISHED_BYTES)
        assert published(world) == []
        polled.step()
        assert counted(poller.PUBLISHED_BYTES) > before
    assert sorted(published(world)) == sorted(ids(range(10)))


def test_an_event_that_eventbridge_refuses_does_not_hold_up_its_neighbours(world: World) -> None:
    items = page(0, 100, note="x" * 3000)
    # First the whole first entry is refused, then the first of its events by itself.
    refusing = partial_failures(PUT_EVENTS, 0, rounds=2, code="MalformedDetail")
    with polling(world, listing(items)) as polled, refusing:
        polled.step()
        polled.step()
    assert sorted(published(world)) == sorted(ids(range(1, 100)))
    (letter,) = world.dead_letters()
    assert letter.reason == "refused_by_eventbridge"
    assert json.loads(letter.body)["hash"] == transaction(0)["hash"]


def test_a_body_over_the_limit_goes_to_s3_and_the_event_points_there(world: World) -> None:
    large = transaction(1, inputs=[{"prev_out": {"value": 1}, "script": "é" * EVENT_BYTES}])
    with polling(world, listing([large, transaction(2)])) as polled:
        polled.step()
    found = {event["hash"]: event for event in world.queued()}
    assert found.keys() == ids([1, 2])
    address = found[large["hash"]]["loopcast"]["body"]
    assert json.loads(bodies.load(address))["inputs"] == large["inputs"]
    assert found[large["hash"]]["loopcast"]["values"] == {"fee": 1001, "virtual_size": 140}


def test_even_a_huge_text_field_does_not_stop_an_event(world: World) -> None:
    with polling(world, listing([transaction(1, note="x" * 300_000)])) as polled:
        polled.step()
    (event,) = world.queued()
    assert list(event) == ["loopcast"]


def test_a_rejected_item_over_the_limit_is_kept_whole(world: World) -> None:
    huge = transaction(1, fee=-1, note="x" * 300_000)
    with polling(world, listing([huge])) as polled:
        polled.step()
    (letter,) = world.dead_letters()
    assert json.loads(bodies.load(letter.body)) == huge


def test_faults_are_counted_by_their_name_and_survived(world: World) -> None:
    faults = [text('{"txs": []}'), text("", 429), text("", 503), text("{"), cut('{"txs": []}')]
    names = ["empty", "http_429", "http_503", "invalid_json", "cut"]
    before = {name: counted(poller.ANSWERS, name) for name in names}
    with polling(world, *faults, listing(page(0, 5))) as polled:
        for _ in range(6):
            polled.step()
    assert {name: counted(poller.ANSWERS, name) - before[name] for name in names} == dict.fromkeys(names, 1.0)
    assert sorted(published(world)) == sorted(ids(range(5)))


def test_a_fault_is_no_gap(world: World) -> None:
    before = counted(poller.GAPS)
    with polling(world, listing(page(0, 100)), text("", 503), listing(page(50, 150))) as polled:
        for _ in range(3):
            polled.step()
    assert counted(poller.GAPS) == before


def test_published_bytes_come_to_cloudwatch_after_success_only(world: World) -> None:
    part = world.part("poller")
    sent = BytesSent(part)
    sent.add(700)
    with refused_call("cloudwatch", "PutMetricData", times=1):
        sent.report()
    sent.add(34)
    sent.report()
    assert _metric_sum(part) == 734


def _metric_sum(part: Part) -> float:
    answer = aws.client("cloudwatch").get_metric_statistics(
        Namespace="Loopcast",
        MetricName="PublishedBytes",
        Dimensions=[{"Name": "Feed", "Value": part.feed.name}],
        StartTime=0,
        EndTime=4_000_000_000,
        Period=3600,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


def test_the_program_polls_reports_and_stops_cleanly(world: World) -> None:
    with HttpSource(listing(page(0, 100)), listing(page(50, 150)), listing(page(50, 150))).serving() as server:
        program = world.start("poller", "--source-url", server.url, "--speed", "100")
        until(lambda: program.metrics()["loopcast_poller_published_events_total"] == 150)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(15) == 0
    assert set(published(world)) == ids(range(150))
    assert program.log()[-1]["message"] == "stopped"
    assert _metric_sum(world.part("poller")) > 0


def test_two_pollers_together_publish_everything(world: World, aws: Service) -> None:
    with HttpSource(listing(page(0, 100))).serving() as server:
        programs = [world.start("poller", "--source-url", server.url) for _ in range(2)]
        for program in programs:
            until(lambda program=program: program.metrics()["loopcast_poller_published_events_total"] == 100)
        assert [program.stop() for program in programs] == [0, 0]
    assert set(published(world)) == ids(range(100))
