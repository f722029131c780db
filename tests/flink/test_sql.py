"""The job's SQL, derived from the feed alone. `golden/` holds it as it should be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink.connector import Kinesis
from flink.sql import Job, Streams, events_table, insert_minutes, kinesis_job, minutes_table, settings, views
from loopcast.clock import Clock
from loopcast.feed import load_feed

GOLDEN = Path(__file__).parent / "golden"
FEEDS = {"bitcoin-fees": Path("feeds/bitcoin-fees.yaml"), "harbour-loads": Path(__file__).parent / "harbour.yaml"}
BITCOIN, HARBOUR = (load_feed(FEEDS[name]) for name in ("bitcoin-fees", "harbour-loads"))


@pytest.mark.parametrize("name", FEEDS)
def test_a_feeds_sql_is_as_it_was_read_and_agreed(name: str) -> None:
    streams = Streams("transactions", "minutes", "late")
    job = kinesis_job(load_feed(FEEDS[name]), streams, Kinesis("eu-west-1", "http://aws.test"), Clock())
    assert text(job) == (GOLDEN / f"{name}.sql").read_text()


def test_without_an_endpoint_the_regions_own_is_used() -> None:
    assert "aws.endpoint" not in Kinesis("eu-west-1").source("transactions")
    assert "aws.endpoint" not in Kinesis("eu-west-1").sink("minutes")


def test_at_a_speed_up_the_watermark_waits_for_what_the_queues_mix_up() -> None:
    assert "- 30000" in events_table(BITCOIN, Clock(1), {}, "shard AS ''")
    assert "- 240000" in events_table(BITCOIN, Clock(120), {}, "shard AS ''")
    assert "newest_ms - 240000" in views(BITCOIN, Clock(120))[-1]


def test_ids_are_remembered_in_event_time_but_never_shorter_than_a_crash_takes() -> None:
    assert settings(BITCOIN, Clock(1))["table.exec.state.ttl"] == "10800000 ms"
    assert settings(BITCOIN, Clock(10))["table.exec.state.ttl"] == "1080000 ms"
    assert settings(BITCOIN, Clock(120))["table.exec.state.ttl"] == "300000 ms"


def test_sums_of_integers_are_64_bit_and_quotients_are_of_doubles() -> None:
    columns, insert = minutes_table(BITCOIN, {}), insert_minutes(BITCOIN)
    assert "`total_fee` BIGINT" in columns
    assert "`average_fee` DOUBLE" in columns
    assert "CAST(SUM(`value_fee`) AS DOUBLE) / CAST(COUNT(*) AS DOUBLE)" in insert
    assert "`total_hours` DOUBLE" in minutes_table(HARBOUR, {})


def test_a_ratio_over_nothing_is_null_and_not_infinite() -> None:
    assert "NULLIF(CAST(SUM(`value_hours`) AS DOUBLE), 0)" in insert_minutes(HARBOUR)


def text(job: Job) -> str:
    sets = [f"SET '{key}' = '{value}'" for key, value in job.settings.items()]
    return "".join(f"{statement};\n\n" for statement in [*sets, *job.definitions, *job.inserts])
