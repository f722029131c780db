"""Reads minutes from the online feature store, by their known keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from loopcast.minute import SLOTS, WINDOW, iso_minute, record_id

_BATCH = 100


def minutes(
    client: Any, feature_group: str, series_id: str, first: datetime, last: datetime
) -> dict[datetime, dict[str, str]]:
    """The records of the minutes that begin from `first` to `last`, by start; those that never came are absent.

    A slot of the day that still holds another day's minute counts as absent. At most a day can be asked for.
    """
    count = (last - first) // WINDOW + 1
    if count > SLOTS:
        raise ValueError("the online store holds a day")
    wanted = {iso_minute(start): start for start in (first + index * WINDOW for index in range(count))}
    keys = [record_id(series_id, start) for start in wanted.values()]
    found: dict[datetime, dict[str, str]] = {}
    for begin in range(0, len(keys), _BATCH):
        for record in _records(client, feature_group, keys[begin : begin + _BATCH]):
            if start := wanted.get(record["minute_start"]):
                found[start] = record
    return dict(sorted(found.items()))


def newest(client: Any, feature_group: str, series_id: str, before: datetime) -> datetime | None:
    """The start of the newest minute that is readable, looking back a day from `before`."""
    last = before.replace(second=0, microsecond=0)
    found = minutes(client, feature_group, series_id, last - timedelta(minutes=SLOTS - 1), last)
    return max(found, default=None)


def _records(client: Any, feature_group: str, keys: list[str]) -> list[dict[str, str]]:
    answer = client.batch_get_record(
        Identifiers=[{"FeatureGroupName": feature_group, "RecordIdentifiersValueAsString": keys}]
    )
    return [
        {feature["FeatureName"]: feature["ValueAsString"] for feature in item["Record"]} for item in answer["Records"]
    ]
