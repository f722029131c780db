"""Events of a test's streams, and what the job made of them against the truth."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from loopcast.feed import load_feed
from loopcast.minute import iso_minute, parse_minute
from tests.flink.kinesis import Stream
from tests.flink.truth import MINUTE, Truth, event_in, truth

START = 1_760_000_040_000
POISON = [b"{nonsense", b"[]", b'{"hash": "no loopcast"}', b'{"loopcast": {"id": "no time", "values": {}}}']


class Job(Protocol):
    """A job over streams of its own; `lateness` is its feed's, in ms."""

    events: Stream
    minutes: Stream
    late: Stream
    lateness: int


def put_minutes(job: Job, first: int, last: int, seed: int, repeated: list[dict[str, Any]] | None = None) -> None:
    """Puts events of the minutes from `first` to `last`, out of order by up to 95 s, and poison among them.

    Some come twice; of `repeated` a few come once more; at last each shard gets one that closes those minutes.
    """
    generator = random.Random(seed)
    times = [generator.randrange(START + first * MINUTE, START + last * MINUTE) for _ in range(70 * (last - first))]
    times.sort(key=lambda time: time + generator.choice([5_000, 5_000, 15_000, 95_000]) * generator.random())
    lines: list[tuple[str, bytes]] = []
    for number, time in enumerate(times):
        identifier = f"{seed}-{number}"
        line = event(identifier, time, generator.randrange(2**28))
        lines += [(identifier, line)] * generator.choice([1, 1, 1, 2])
    for old in generator.sample(repeated or [], min(40, len(repeated or []))):
        lines.append((old["id"], json.dumps({"loopcast": old}).encode()))
    lines += [(f"poison-{index}", poison) for index, poison in enumerate(POISON)]
    job.events.put(lines)
    shards = len(job.events.read())
    end = START + last * MINUTE + 95_000
    job.events.put_in_every_shard([event(f"{seed}-end-{shard}", end, 1) for shard in range(shards)])


def event(identifier: str, time: int, amount: int) -> bytes:
    """An event that both feeds understand; hours are quarters, so that their sums are the same in any order."""
    values = {"fee": amount, "virtual_size": amount % 900 + 100, "order": amount, "hours": amount % 40 / 4 + 0.25}
    return json.dumps({"hash": identifier, "loopcast": {"id": identifier, "time": time, "values": values}}).encode()


def truth_of(job: Job) -> Truth:
    return truth(job.events.read(), job.lateness, ["fee"])


def events_of(job: Job) -> list[dict[str, Any]]:
    return [found for records in job.events.read() for record in records if (found := event_in(record, ["fee"]))]


def all_written(job: Job, expected: Truth) -> bool:
    """Whether as many minutes and late events are out as must come."""
    return len({minute["minute_start"] for minute in job.minutes.documents()}) >= len(expected.minutes) and len(
        {found["id"] for found in job.late.documents()}
    ) >= len(expected.late)


def bitcoin_minutes(expected: Truth) -> dict[str, dict[str, Any]]:
    """What the default feed's job must write."""
    return {
        iso(start): {
            "transaction_count": len(events),
            "total_fee": total(events, "fee"),
            "average_fee": total(events, "fee") / len(events),
            "average_fee_rate": total(events, "fee") / total(events, "virtual_size"),
        }
        for start, events in expected.minutes.items()
    }


def harbour_minutes(expected: Truth) -> dict[str, dict[str, Any]]:
    """What the job of harbour.yaml must write."""
    return {
        iso(start): {
            "lifts": len(events),
            "total_order": total(events, "order"),
            "total_hours": total(events, "hours"),
            "mean_order": total(events, "order") / len(events),
            "pace": total(events, "order") / total(events, "hours"),
        }
        for start, events in expected.minutes.items()
    }


def written(job: Job, feed: Path) -> dict[str, dict[str, Any]]:
    """The metrics of each minute; a minute may be written again, but then it is the same."""
    found: dict[str, dict[str, Any]] = {}
    for document in job.minutes.documents():
        minute = parse_minute(load_feed(feed), document)
        assert (minute.series_id, minute.revision) == (load_feed(feed).name, 0)
        start = iso_minute(minute.start)
        assert found.setdefault(start, dict(minute.metrics)) == minute.metrics
        assert document["minute_start"] == start
    return found


def late(job: Job, series: str) -> dict[str, int]:
    documents = job.late.documents()
    for document in documents:
        assert set(document) == {"series_id", "minute_start", "id", "time"}
        assert document["series_id"] == series
        assert document["minute_start"] == iso(document["time"] // MINUTE * MINUTE)
    return {document["id"]: document["time"] for document in documents}


def iso(milliseconds: int) -> str:
    return iso_minute(datetime.fromtimestamp(milliseconds / 1000, UTC))


def total(events: list[dict[str, Any]], name: str) -> Any:
    return sum(event[name] for event in events)
