"""Measures what was collected, and reports it once: as metrics, as a record of the stage's history, as a result."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from components.evaluate.scores import finite
from components.monitor import cloudwatch
from components.monitor.collected import Closed
from components.monitor.measures import between, data_quality, missing_share, quality
from components.monitor.state import State, has_history, read_or_none, read_state, take, write_history
from components.parameters import number
from components.run import Run, read_json
from loopcast import aws
from loopcast.feed import Feed
from loopcast.minute import SLOTS, WINDOW, iso_milliseconds, iso_minute

_log = logging.getLogger(__name__)


def measure(run: Run, stage: str, closed: Closed, now: datetime) -> dict[str, Any]:
    """The record of the windows that closed, with its metrics put and its history kept.

    A run that is started again puts the same at the same time; when another run took the windows, it says so instead.
    What an earlier run took and did not come to report, as when it was killed, is reported first.
    """
    finish_earlier(run, stage)
    wanted = State(iso_minute(closed.end), closed.served.version, run.id, iso_milliseconds(now))
    state = take(run, stage, closed.before, wanted)
    if state is None:
        return nothing(run, stage, f"Another run has judged the windows from {iso_minute(closed.start)} on.")
    return _report(run, stage, closed, state)


def finish_earlier(run: Run, stage: str) -> None:
    """Reports the newest windows that another run took, where the stage's history lacks them: with its own time, so
    that both may report them."""
    state = read_state(run, stage)
    if state is None or state.run_id == run.id or has_history(run, stage, state.until):
        return
    earlier = Run(run.feed, run.names, state.run_id)
    collected = read_or_none(earlier.uri("monitor", stage, "collected.json"))
    if collected is not None:
        _report(earlier, stage, Closed.from_json(json.loads(collected[0])), state)


def _report(run: Run, stage: str, closed: Closed, state: State) -> dict[str, Any]:
    baseline = read_baseline(closed.served.package)
    limit = number(run.names, "thresholds", stage)
    record = {**of_windows(run, stage, closed, baseline, limit), "measured_at": state.at}
    cloudwatch.put(record, datetime.fromisoformat(state.at))
    write_history(run, stage, closed.end, record)
    return record


def nothing(run: Run, stage: str, message: str) -> dict[str, Any]:
    """The result of a run that had nothing to judge, and why."""
    return {"run_id": run.id, "feed": run.feed.name, "stage": stage, "windows": 0, "message": message}


def of_windows(
    run: Run, stage: str, closed: Closed, baseline: Mapping[str, Any] | None, limit: float | None
) -> dict[str, Any]:
    """The record of `closed`, beside the training `baseline` and the threshold `limit` where there is one; pure."""
    head = {
        "run_id": run.id,
        "feed": run.feed.name,
        "stage": stage,
        "endpoint": run.names.endpoint(stage),
        "model": closed.served.model,
        "model_package_arn": closed.served.package,
        "model_version": closed.served.version,
        "start": iso_minute(closed.start),
        "end": iso_minute(closed.end),
        "windows": closed.number,
        "judged": len(closed.asked),
    }
    figures = _figures(run.feed, closed)
    loss = figures["loss"]
    ratio = loss / limit if limit and loss is not None else None
    record = {**head, **figures, "threshold": limit, "ratio": ratio, **_data(run.feed, closed, baseline)}
    checked: dict[str, Any] = finite(record)
    return checked


def _figures(feed: Feed, closed: Closed) -> dict[str, Any]:
    if not closed.asked:
        unknown = ("loss", "coverage", "bias", "rmse", "baseline", "baseline_loss")
        return {**dict.fromkeys(unknown), "horizon": {}}
    return quality(feed, closed.asked, closed.minutes.history(feed.forecast.target))


def _data(feed: Feed, closed: Closed, baseline: Mapping[str, Any] | None) -> dict[str, Any]:
    minutes = closed.minutes
    since = between(minutes, (closed.start - minutes.start) // WINDOW, (closed.end - minutes.start) // WINDOW)
    found = {"missing": missing_share(since), "volume": None, "drift": None, "drift_of": None}
    if baseline is None:
        _log.info("the model's package has no training baseline: volume and drift are not measured")
        return found
    return {
        **found,
        **data_quality(feed.count_metric, baseline, since, between(minutes, len(minutes) - SLOTS, len(minutes))),
    }


def read_baseline(package: str) -> dict[str, Any] | None:
    """The training baseline of a model package; None where there is no package, or an older one without."""
    if not package:
        return None
    metrics = aws.client("sagemaker").describe_model_package(ModelPackageName=package).get("ModelMetrics", {})
    address = metrics.get("ModelDataQuality", {}).get("Statistics", {}).get("S3Uri")
    found: dict[str, Any] | None = read_json(address) if address else None
    return found
