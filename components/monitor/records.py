"""What was forecast and what came, a line a minute, in the forms that SageMaker Model Monitor merges; pure functions.

A minute's forecast and its ground truth bear the same event id, which follows from the endpoint, the model's version
and the minute: a window written again lies under the same keys with the same ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from components.baselines import Forecast
from components.history import Array
from loopcast.minute import WINDOW, iso_minute
from loopcast.names import Names


@dataclass(frozen=True)
class Window:
    """A window that was asked for: what was forecast at its `start`, and what came; arrays of shape (horizon,)."""

    start: datetime
    actual: Array
    forecast: Forecast


@dataclass(frozen=True)
class Record:
    """Where a window's records lie: those of `variant` of the endpoint of `stage`, serving the model's `version`."""

    names: Names
    stage: str
    variant: str
    version: str

    @property
    def endpoint(self) -> str:
        return self.names.endpoint(self.stage)

    @property
    def predictions(self) -> str:
        """The address below which the endpoint's captured data lies; a monitor adds endpoint, variant and hour."""
        return self.names.s3(self.names.capture_prefix).rstrip("/")

    @property
    def ground_truth(self) -> str:
        """The address below which the ground truth of this version's forecasts lies by the hour."""
        return self.names.s3(f"{self.names.monitoring_prefix}{self.stage}/ground-truth/{self.version}/{self.endpoint}")

    def event_id(self, minute: datetime) -> str:
        return f"{self.endpoint}-{self.version}-{minute:%Y%m%dT%H%MZ}"


def files(record: Record, window: Window) -> dict[str, str]:
    """The window's predictions and its ground truth, JSON Lines by address, under the hour in which it begins.

    A minute that never came is left out of both.
    """
    minutes = [(window.start + int(step) * WINDOW, step) for step in np.flatnonzero(~np.isnan(window.actual))]
    name = f"{window.start:%Y/%m/%d/%H}/{record.version}-{window.start:%Y%m%dT%H%MZ}.jsonl"
    predictions = [
        _prediction(record.event_id(minute), window.start, float(window.forecast[0.5][step]))
        for minute, step in minutes
    ]
    truths = [_ground_truth(record.event_id(minute), float(window.actual[step])) for minute, step in minutes]
    return {
        f"{record.predictions}/{record.endpoint}/{record.variant}/{name}": "".join(predictions),
        f"{record.ground_truth}/{name}": "".join(truths),
    }


def _prediction(identifier: str, asked: datetime, value: float) -> str:
    output = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": repr(value), "encoding": "CSV"}
    event = {"eventId": identifier, "inferenceTime": iso_minute(asked)}
    return _line({"captureData": {"endpointOutput": output}, "eventMetadata": event, "eventVersion": "0"})


def _ground_truth(identifier: str, value: float) -> str:
    truth = {"data": repr(value), "encoding": "CSV"}
    return _line({"groundTruthData": truth, "eventMetadata": {"eventId": identifier}, "eventVersion": "0"})


def _line(document: object) -> str:
    return json.dumps(document) + "\n"
