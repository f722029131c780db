"""A forecast from a stage's endpoint, for whoever asks."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from components.endpoint import invoke
from components.read_features.read_features import read_newest
from components.run import Refused
from loopcast import aws
from loopcast.feed import Feed
from loopcast.minute import WINDOW, iso_minute
from loopcast.names import Names


@dataclass(frozen=True)
class Forecast:
    """What a stage forecasts: `quantiles` has a number for each of `minutes` (their starts, ISO 8601) by level;
    `origin` is the newest minute that it was made from."""

    origin: str
    minutes: list[str]
    quantiles: dict[str, list[float]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def forecast(feed: Feed, stage: str, origin: datetime | None = None) -> Forecast:
    """The stage's forecast of the minutes after `origin`, or after the newest minute.

    Raises `Refused` when the online store has no minute until `origin`.
    """
    names = Names(feed.name, aws.account())
    history = read_newest(feed, names)
    if origin is not None:
        history = history.until(max(0, (origin - history.start) // WINDOW + 1))
    if not len(history):
        raise Refused(f"The online store has no minute until {origin:%Y-%m-%d %H:%M}: take a later origin.")
    prediction = invoke(feed, names, stage, history)
    steps = [history.end + timedelta(minutes=step) for step in range(feed.forecast.steps)]
    return Forecast(
        iso_minute(history.end - WINDOW), [iso_minute(start) for start in steps], prediction.quantiles or {}
    )
