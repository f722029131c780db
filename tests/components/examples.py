"""Small feeds and histories for the tests of the components."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from components.history import History
from loopcast.feed import Feed, parse_feed

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

FEED_TEXT = """\
name: parcels
title: Average weight of parcels
source:
  url: http://127.0.0.1/parcels
  items: parcels
  page_size: 10
  min_poll_interval: 1s
  max_poll_interval: 2s
  timeout: 1s
event:
  noun: parcel
  id: label
  time: at
  time_unit: ms
  max_clock_skew: 1h
  values:
    weight: {path: grams, type: number, unit: g}
window: {size: 1m, lateness: 10s, deduplication: 1h}
metrics:
  parcel_count: {aggregate: count, unit: parcel}
  average_weight: {aggregate: mean, of: weight, unit: g/parcel}
forecast:
  target: average_weight
  horizon: 10m
  quantiles: [0.1, 0.5, 0.9]
"""


def feed() -> Feed:
    """A feed that has nothing to do with Bitcoin."""
    return parse_feed(FEED_TEXT)


def history(minutes: int, seed: int = 7) -> History:
    """A noisy daily wave without holes."""
    noise = np.random.default_rng(seed).gamma(20, 5, minutes)
    return History(START, 1000 + 100 * np.sin(np.arange(minutes) / 60) + noise)
