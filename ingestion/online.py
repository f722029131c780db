"""Minutes in the feature group's online store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from loopcast import aws
from loopcast.minute import Minute, iso_minute, record_id
from loopcast.names import Names

_SERVICE = "sagemaker-featurestore-runtime"


@dataclass(frozen=True)
class Stored:
    """A minute as the online store holds it: its revision, and its features as text."""

    revision: int
    features: Mapping[str, str]


def put(names: Names, minute: Minute) -> None:
    """Writes `minute`; the online store keeps it if none of its key is newer. Raises AWS errors."""
    aws.client(_SERVICE).put_record(FeatureGroupName=names.feature_group, Record=minute.to_record())


def stored_minute(names: Names, series_id: str, start: datetime) -> Stored | None:
    """The minute of `series_id` that begins at `start`, in the revision that is stored; None when it isn't, or when
    its key has gone on to another day. Raises AWS errors."""
    answer = aws.client(_SERVICE).get_record(
        FeatureGroupName=names.feature_group, RecordIdentifierValueAsString=record_id(series_id, start)
    )
    features = {feature["FeatureName"]: feature["ValueAsString"] for feature in answer.get("Record", [])}
    if features.get("minute_start") != iso_minute(start):
        return None
    return Stored(int(features["revision"]), features)
