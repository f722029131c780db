"""Holds a stack that runs to its promise: waits for what is on its way, then checks every closed minute."""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd

from local.control import Source
from local.flow import Flow, Stores, check, closed_until, measured
from local.parts import Settings
from local.source import ledger as ledgers
from local.status import counters
from loopcast.clock import Clock

SETTLE_SECONDS = 60.0


class Audit:
    """One check of the stack of `settings`, after its source was held."""

    def __init__(self, settings: Settings, source: Source) -> None:
        self._settings, self._source, self._names = settings, source, settings.names
        self._stores = Stores(settings.environment, settings.feed)
        self.ledger = pd.DataFrame()

    def run(self) -> Flow:
        """The flow over the minutes that the watermark has closed: as soon as it is exact, or as it is in the end."""
        _until(self._all_polled)
        lateness = Clock(self._settings.speed).lateness(self._settings.feed.window.lateness)
        until = closed_until(self.ledger, lateness)
        flow = self._measure(until)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not flow.exact and time.monotonic() < deadline:
            time.sleep(1.0)
            if self._settings.source == "live":  # what was on its way to the archive is there by now
                self.ledger = self._read_ledger()
            flow = self._measure(until)
        return flow

    def written(self) -> pd.DataFrame:
        """What the offline store holds, by minute."""
        return self._stores.written(self._names.bucket, self._names.offline_store_prefix)

    def _all_polled(self) -> bool:
        listed = self._source.all_listed()
        self.ledger = self._read_ledger()
        return listed and counters(self._settings).polled >= len(self.ledger)

    def _read_ledger(self) -> pd.DataFrame:
        if self._settings.source == "live":  # the world keeps no ledger: the archive stands in for it
            return self._stores.archive_rows(self._names.bucket, self._names.raw_prefix)
        ledger: pd.DataFrame = ledgers.read(self._settings.ledger).to_pandas()
        return ledger

    def _measure(self, until: int) -> Flow:
        is_live = self._settings.source == "live"  # the archive's rows have the feed's values already
        return check(
            feed=self._settings.feed,
            ledger=self.ledger if is_live else measured(self.ledger, self._settings.feed),
            archived=self._stores.archived(self._names.bucket, self._names.raw_prefix),
            windowed=self._stores.windowed(self._names.minutes_stream),
            written=self.written(),
            counters=counters(self._settings),
            closed_until=until,
        )


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.3)
