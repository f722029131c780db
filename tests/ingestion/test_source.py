"""Whatever the source answers is survived, and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestion.source import Source, SourceFault, retry_after
from loopcast.feed import load_feed
from tests.conftest import free_port
from tests.ingestion.conftest import transaction
from tests.ingestion.http_source import HttpSource, Script, cut, dripping, listing, silent, text

FEED = load_feed(Path(__file__).parents[2] / "feeds" / "bitcoin-fees.yaml")
HASTY = FEED.model_copy(update={"source": FEED.source.model_copy(update={"timeout": 0.3})})
WHOLE = json.dumps({"txs": [transaction(1), transaction(2)]})


@contextmanager
def source(*scripts: Script) -> Iterator[Source]:
    with HttpSource(*scripts).serving() as server:
        polled = Source(HASTY, server.url)
        yield polled
        polled.close()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (text('{"txs": []}'), "empty"),
        (text("{}"), "empty"),
        (text('{"txs": null}'), "empty"),
        (text('{"txs": {"a": 1}}'), "not_a_list"),
        (text("<html>busy</html>"), "invalid_json"),
        (text(""), "invalid_json"),
        (text('{"txs": [{"fee": NaN}]}'), "invalid_json"),
        (text('{"txs": [' + "9" * 5000 + "]}"), "invalid_json"),
        (text("[" * 100_000), "invalid_json"),
        (text("busy", 429), "http_429"),
        (text("down", 503), "http_503"),
        (text("gone", 404), "http_404"),
        (cut(WHOLE), "cut"),
        (silent(1), "timeout"),
        (dripping(WHOLE, 0.05), "timeout"),
    ],
)
def test_a_bad_answer_is_a_fault_with_a_name(script: Script, reason: str) -> None:
    with source(script) as polled, pytest.raises(SourceFault) as caught:
        polled.poll()
    assert caught.value.reason == reason


def test_a_source_that_is_away_is_a_fault() -> None:
    polled = Source(FEED, f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(SourceFault, match="connection"):
        polled.poll()
    polled.close()


def test_after_a_bad_answer_comes_a_good_one() -> None:
    with source(cut(WHOLE), text(WHOLE)) as polled:
        with pytest.raises(SourceFault):
            polled.poll()
        assert polled.poll() == [transaction(1), transaction(2)]


def test_one_connection_serves_many_polls() -> None:
    with HttpSource(listing([transaction(1)])).serving() as server:
        polled = Source(FEED, server.url)
        for _ in range(3):
            polled.poll()
        polled.close()
    assert (server.requests, server.connections) == (3, 1)


def test_the_source_says_when_to_come_again() -> None:
    with source(text("busy", 429, Retry_After="7")) as polled, pytest.raises(SourceFault) as caught:
        polled.poll()
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 11, 21, 10, tzinfo=UTC)) == seconds
