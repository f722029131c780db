"""What time it is in the data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from loopcast import aws
from loopcast.minute import EVENT_TIME, RECORD_ID, SLOTS, WINDOW
from loopcast.names import Names

_BATCH = 100
_AHEAD = 60


class NoMinutes(LookupError):
    """The feature store holds no minute yet."""


class NewestMinute:
    """The end of the newest minute in a feed's online store, which has one key for each minute of the day.

    The whole day is read once; from then on only the next hour after the newest minute known, unless nothing new came
    for a while.
    """

    def __init__(self, names: Names, series: str, search_again: float = 60.0) -> None:
        self._names, self._series, self._search_again = names, series, search_again
        self._newest: datetime | None = None
        self._moved = 0.0

    def end(self) -> datetime:
        """Raises `NoMinutes`, and AWS errors."""
        before = self._newest
        if before is None or time.monotonic() - self._moved > self._search_again:
            found, self._moved = self._among(range(SLOTS)), time.monotonic()
        else:
            slot = before.hour * 60 + before.minute
            found = self._among([(slot + ahead) % SLOTS for ahead in range(_AHEAD)])
        known = [minute for minute in (before, found) if minute is not None]
        if not known:
            raise NoMinutes(f"the feature group {self._names.feature_group} has no minute yet")
        self._newest = max(known)
        if self._newest != before:
            self._moved = time.monotonic()
        return self._newest + WINDOW

    def _among(self, slots: Sequence[int]) -> datetime | None:
        batches = [slots[first : first + _BATCH] for first in range(0, len(slots), _BATCH)]
        with ThreadPoolExecutor(4) as pool:
            starts = [start for found in pool.map(self._starts, batches) for start in found]
        return max(starts, default=None)

    def _starts(self, slots: Sequence[int]) -> list[datetime]:
        """The starts of the minutes under these keys; what is not answered now is asked for at the next look."""
        identifier = {
            "FeatureGroupName": self._names.feature_group,
            "RecordIdentifiersValueAsString": [f"{self._series}#{slot:04d}" for slot in slots],
            "FeatureNames": [RECORD_ID, EVENT_TIME],
        }
        answer = aws.client("sagemaker-featurestore-runtime").batch_get_record(Identifiers=[identifier])
        return [_start(record["Record"]) for record in answer["Records"]]


def _start(record: Sequence[dict[str, Any]]) -> datetime:
    """A minute's event time is its end, and a millisecond a revision."""
    values = {feature["FeatureName"]: feature["ValueAsString"] for feature in record}
    ended = datetime.fromisoformat(values[EVENT_TIME]).astimezone(UTC)
    slot = int(values[RECORD_ID].rpartition("#")[2])
    start = ended.replace(second=0, microsecond=0) - WINDOW
    while start.hour * 60 + start.minute != slot:  # more than a minute's worth of revisions
        start -= timedelta(minutes=1)
    return start
