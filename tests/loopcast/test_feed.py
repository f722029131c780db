"""A feed file is checked as a whole, and each mistake is named with its line and field."""

from pathlib import Path

import pytest

from loopcast.feed import Feed, FeedError, load_feed, parse_feed

FEEDS = Path(__file__).parents[2] / "feeds"
BITCOIN = (FEEDS / "bitcoin-fees.yaml").read_text()

WIND_FARM = """
name: wind-farm
title: Power of a wind farm
source: {url: "http://localhost/readings", items: data.readings, page_size: 20,
         min_poll_interval: 1s, max_poll_interval: 5s, timeout: 3s}
event:
  noun: reading
  id: meta.uuid
  time: taken_at
  time_unit: ms
  max_clock_skew: 1m
  values:
    power: {path: power.kilowatt, type: number, unit: kW}
    gusts: {path: gusts, type: integer, unit: gust}
window: {size: 1m, lateness: 5s, deduplication: 1h}
metrics:
  readings: {aggregate: count, unit: reading}
  mean_power: {aggregate: mean, of: power, unit: kW/reading}
  power_per_gust: {aggregate: ratio, of: power, per: gusts, unit: kW/gust}
forecast: {target: mean_power, horizon: 15m, quantiles: [0.1, 0.5, 0.9]}
"""


def mistake(text: str) -> str:
    with pytest.raises(FeedError) as caught:
        parse_feed(text, "feed.yaml")
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert old in BITCOIN
    return BITCOIN.replace(old, new, 1)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize("path", sorted(FEEDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_feed_of_the_project_is_sound(path: Path) -> None:
    assert load_feed(path).name == path.stem


def test_a_feed_with_other_fields_and_units_needs_no_code() -> None:
    feed = parse_feed(WIND_FARM)
    assert feed.event.milliseconds_per_unit == 1
    assert feed.forecast.steps == 15
    assert feed.window.deduplication == 3600


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ("page_size: 100", "page_size: ten", "source.page_size", "integer"),
        ("page_size: 100", "page_sise: 100", "source.page_sise", "unknown key"),
        ("lateness: 30s", "lateness: 30 parsecs", "window.lateness", "one of s, m, h, d"),
        ("lateness: 30s", "lateness: 30", "window.lateness", "one of s, m, h, d"),
        ("time_unit: s", "time_unit: fortnights", "event.time_unit", "'s' or 'ms'"),
        ("unit: satoshi/vB", "unit: satoshi", "metrics.average_fee_rate.unit", "'satoshi/vB'"),
        ("per: virtual_size", "per: virtual_sise", "metrics.average_fee_rate.per", "no value is named"),
        ("target: average_fee", "target: average_fees", "forecast.target", "no metric is named"),
        ("horizon: 30m", "horizon: 90s", "forecast.horizon", "whole minutes"),
        ("0.25, 0.5", "0.5, 0.25", "forecast.quantiles", "must rise"),
        ("0.95]", "1.5]", "forecast.quantiles.4", "less than 1"),
        (" shards: 1 ", " shards: 2 ", "stream", "max_shards is less"),
        ("max_shards: 1", "max_shards: 0", "stream.max_shards", "greater than 0"),
        ("size: 1m", "size: 5m", "window.size", "must be 1m"),
        ("aggregate: count", "aggregate: sum", "metrics.transaction_count", "sum and mean take of"),
        ("divide_by: 4", "divide_by: 0", "event.values.virtual_size.divide_by", "greater than 1"),
        ("items: txs", "items: txs[", "source.items", "not JMESPath"),
        ("url: https", "url: ftp", "source.url", "pattern"),
        ("  transaction_count:", "  revision:", "metrics.revision", "reserved"),
        ("  transaction_count:", "  is_deleted:", "metrics.is_deleted", "reserved"),
        (
            "aggregate: count\n    unit: transaction",
            "aggregate: sum\n    of: fee\n    unit: satoshi",
            "metrics",
            "one must count",
        ),
        ("  transaction_count:", "  Count:", "metrics.Count", "lower-case"),
    ],
)
def test_a_mistake_names_the_line_and_the_field(old: str, new: str, field: str, said: str) -> None:
    text = changed(old, new)
    message = mistake(text)
    assert f": {field}" in message
    assert said in message
    stated = int(message.split(":")[1])
    assert abs(stated - line_of(BITCOIN, old)) <= 3


def test_a_wrong_type_is_reported_on_its_own_line() -> None:
    text = changed("page_size: 100", "page_size: ten")
    assert mistake(text).startswith(f"feed.yaml:{line_of(text, 'page_size')}: source.page_size")


def test_a_missing_field_is_named() -> None:
    assert "event.id: Field required" in mistake(changed("  id: hash\n", ""))


def test_a_key_that_stands_twice_is_refused() -> None:
    text = changed("  id: hash\n", "  id: hash\n  id: txid\n")
    assert mistake(text) == f"feed.yaml:{line_of(text, 'id: txid')}: id: the key stands twice"


def test_several_mistakes_are_told_at_once() -> None:
    text = changed("page_size: 100", "page_size: ten").replace("horizon: 30m", "horizon: soon")
    assert len(mistake(text).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "[]", "name", "a: [", "\t"])
def test_a_file_that_is_no_feed_is_refused_in_words(text: str) -> None:
    assert mistake(text).startswith("feed.yaml:")


def test_a_file_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="can't be read"):
        load_feed(tmp_path / "none.yaml")


def test_the_default_feed_states_its_units() -> None:
    feed: Feed = load_feed(FEEDS / "bitcoin-fees.yaml")
    assert feed.metrics["average_fee"].unit == "satoshi/transaction"
