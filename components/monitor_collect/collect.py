"""Asks a stage's own endpoint for each window that has closed, and holds what came as ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from botocore.exceptions import ClientError

from components.baselines import Forecast
from components.columns import Columns
from components.endpoint import invoke
from components.history import CONTEXT, History
from components.monitor.collected import Closed
from components.monitor.records import Record, Window, files
from components.monitor.served import Service, find_service
from components.monitor.state import State, read_state
from components.monitor.windows import REACH, closed_windows, first_moment, serves_since
from components.read_features.read_features import read_columns, read_newest_columns
from components.run import Refused, Run, write
from loopcast.clock import Clock
from loopcast.forecast import Prediction
from loopcast.minute import SLOTS, WINDOW, iso_minute

_NEARLY_A_DAY = SLOTS - 60


def collect(run: Run, stage: str, clock: Clock) -> Closed | str:
    """The windows that closed since the stage's last run, each with its forecast and what came, or why there are none.

    Their records for SageMaker Model Monitor are written on the way. Raises `Refused` where the endpoint is absent or
    does not answer soundly.
    """
    service, state = find_service(run.names, stage), read_state(run, stage)
    if service is None:
        return f"The endpoint {run.names.endpoint(stage)} is being changed: the next run judges its windows."
    minutes = read_minutes(run)
    first, end = _span(minutes, service, state, clock)
    starts = closed_windows(first, end, run.feed.forecast.steps * WINDOW)
    if not starts:
        return f"No window has closed since {iso_minute(first)}: the newest minute ends at {iso_minute(end)}."
    asked = _ask(run, stage, service, minutes, starts)
    _write(Record(run.names, stage, service.served.variant, service.served.version), asked)
    before = state.judged_until if state else None
    last = starts[-1] + run.feed.forecast.steps * WINDOW
    return Closed(service.served, before, starts[0], last, len(starts), asked, minutes)


def read_minutes(run: Run) -> Columns:
    """The minutes of the windows and of the day before each: the online store has all while a feed is younger."""
    newest = read_newest_columns(run.feed, run.names)
    if len(newest) < _NEARLY_A_DAY:
        return newest
    return read_columns(run.feed, run.names, REACH + CONTEXT * WINDOW)


def _span(minutes: Columns, service: Service, state: State | None, clock: Clock) -> tuple[datetime, datetime]:
    """From when on windows are to be judged, and the end of the newest minute."""
    end = minutes.start + len(minutes) * WINDOW
    in_service = clock.now() - service.since.timestamp()
    since = serves_since(end, in_service, clock.speed, service.trained_until)
    if state is not None and state.version == service.served.version:
        since = state.until  # an endpoint is changed for other reasons too, as for a shadow beside the same model
    return max(minutes.start, first_moment(state.until if state else None, since, end)), end


def _ask(run: Run, stage: str, service: Service, minutes: Columns, starts: Sequence[datetime]) -> list[Window]:
    """The windows of which a minute came and something was known before; all were answered by the same model."""
    target = minutes.history(run.feed.forecast.target)
    found = [_window(run, stage, service, target, (start - target.start) // WINDOW) for start in starts]
    after = find_service(run.names, stage)
    if after is None or after.served != service.served:
        raise Refused(f"The endpoint {run.names.endpoint(stage)} was changed while it was asked: start the run again.")
    return [window for window in found if window is not None]


def _window(run: Run, stage: str, service: Service, target: History, origin: int) -> Window | None:
    past, actual = target.until(origin), target.target[origin : origin + run.feed.forecast.steps]
    if np.isnan(actual).all() or not past.context().known:
        return None
    try:
        prediction = invoke(run.feed, run.names, stage, past, service.served.variant)
    except ClientError as error:
        said = error.response["Error"].get("Message", str(error))
        raise Refused(f"The endpoint {run.names.endpoint(stage)} did not answer: {said}") from error
    return Window(past.end, actual, forecast_of(prediction, run.feed.forecast.steps, run.feed.forecast.quantiles))


def forecast_of(prediction: Prediction, horizon: int, quantiles: Sequence[float]) -> Forecast:
    """The prediction as arrays of shape (horizon,). Raises `Refused` when it lacks a finite number."""
    answered = {float(level): np.array(values) for level, values in (prediction.quantiles or {}).items()}
    for quantile in quantiles:
        values = answered.get(quantile)
        if values is None or values.shape != (horizon,) or not np.isfinite(values).all():
            raise Refused(f"The endpoint's prediction lacks {horizon} finite numbers at the quantile {quantile:g}.")
    return {quantile: answered[quantile] for quantile in quantiles}


def _write(record: Record, windows: Sequence[Window]) -> None:
    for window in windows:
        for address, lines in files(record, window).items():
            write(address, lines, "application/jsonlines")
