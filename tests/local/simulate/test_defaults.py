"""The simulation plays what the stack would do: its own policy and its own alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.run import Refused
from local.simulate.defaults import alarm_rule, retraining_policy
from loopcast.feed import load_feed

FEED = load_feed(Path(__file__).parents[3] / "feeds" / "bitcoin-fees.yaml")


def test_the_policy_is_the_feeds_own_and_watches_its_alarms() -> None:
    spec = retraining_policy(FEED)
    assert spec.feed == FEED.name
    assert any(alarm.endswith("-production-degraded") for alarm in spec.triggers.alarms)


def test_a_feed_without_a_policy_is_told_so() -> None:
    with pytest.raises(Refused, match="is for the feed parcels"):
        retraining_policy(FEED.model_copy(update={"name": "parcels"}))


def test_the_alarm_is_that_of_the_manifest() -> None:
    rule = alarm_rule()
    assert 1 <= rule.datapoints <= rule.periods
