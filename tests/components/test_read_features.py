"""The history that a model is trained on is what the feature store holds, each minute once, from both of its stores."""

from datetime import timedelta

import numpy as np
import pytest

from components.monitor_collect.collect import read_minutes
from components.read_features.read_features import read_columns, read_newest, read_offline
from components.run import Refused, Run
from loopcast import aws
from loopcast.feed import Feed, parse_feed
from loopcast.minute import iso_milliseconds
from loopcast.names import Names
from tests.components.examples import FEED_TEXT
from tests.components.stack import FIRST_MINUTE, make_resources, minute, put, until

MINUTES = 1500  # more than the online store's day
FEED = parse_feed(FEED_TEXT.replace("name: parcels", "name: parcels-read"))


@pytest.fixture(scope="module")
def stored(aws, sagemaker) -> Names:
    """1500 minutes, of which 700 was never written, 800 was repaired and 900 was deleted."""
    names = make_resources(FEED)
    put(names, [minute(FEED, index, float(index)) for index in range(MINUTES) if index != 700])
    put(names, [minute(FEED, 800, -1.0, revision=2)])
    put(names, [minute(FEED, 800, -2.0, revision=1)])
    delete(names, 900)
    until(lambda: len(list(read_offline(FEED, names, FIRST_MINUTE))) == MINUTES + 2)
    return names


def delete(names: Names, index: int) -> None:
    gone = minute(FEED, index, 0.0)
    aws.client("sagemaker-featurestore-runtime").delete_record(
        FeatureGroupName=names.feature_group,
        RecordIdentifierValueAsString=gone.record_id,
        EventTime=iso_milliseconds(gone.event_time + timedelta(hours=1)),
    )


def expected() -> np.ndarray:
    values = np.arange(float(MINUTES))
    values[[700, 900]], values[800] = np.nan, -1.0
    return values


def test_both_stores_together_give_each_minute_once(stored: Names) -> None:
    columns = read_columns(FEED, stored, timedelta(days=14))
    assert columns.start == FIRST_MINUTE
    np.testing.assert_array_equal(columns.values["average_weight"], expected())
    counts = np.where(np.isnan(expected()), np.nan, 1.0)
    np.testing.assert_array_equal(columns.values["parcel_count"], counts)


def test_the_lookback_bounds_what_is_read(stored: Names) -> None:
    columns = read_columns(FEED, stored, timedelta(minutes=100))
    np.testing.assert_array_equal(columns.values["average_weight"], expected()[-100:])


def test_the_newest_day_needs_the_online_store_only(stored: Names) -> None:
    history = read_newest(FEED, stored)
    np.testing.assert_array_equal(history.target, expected()[-1440:])


def test_a_monitor_knows_the_day_before_windows_that_the_online_store_no_longer_holds(stored: Names) -> None:
    minutes = read_minutes(Run(FEED, stored, "r1"))
    assert minutes.start == FIRST_MINUTE
    np.testing.assert_array_equal(minutes.values["average_weight"], expected())


def test_minutes_that_the_offline_store_does_not_have_yet_come_from_the_online_store(stored: Names) -> None:
    put(stored, [minute(FEED, MINUTES, 5.0)])
    assert read_columns(FEED, stored, timedelta(days=14)).values["average_weight"][MINUTES] == 5.0


def test_an_empty_feature_store_is_refused_in_a_sentence(aws, sagemaker) -> None:
    feed: Feed = parse_feed(FEED_TEXT.replace("name: parcels", "name: parcels-empty"))
    names = make_resources(feed)
    with pytest.raises(Refused, match="has no minute yet: start the feed and wait"):
        read_newest(feed, names)
    with pytest.raises(Refused, match="has no minute yet"):
        read_columns(feed, names, timedelta(days=14))
