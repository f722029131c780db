"""Evaluates ministack's metric alarms as CloudWatch does, and tells EventBridge of every change of state.

ministack looks at an alarm when some metric is put, over the points of all dimensions at once, without M out of N and
without missing data; so an alarm that waits for silence never came. Here each alarm is evaluated by the clock, every 10
seconds when its period is below a minute and every minute otherwise, and when it is put.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import request_scope

from local.aws.alarm_rules import Settings, mistake, reason_of, state_of
from local.aws.services import Services

Alarm = dict[str, Any]

_TICK = 10.0

log = logging.getLogger(__name__)


class Alarms:
    """Takes the place of ministack's evaluation; `changed` is called after every change of state."""

    def __init__(self, services: Services, changed: Callable[[], None], now: Callable[[], float] = time.time) -> None:
        self._services, self._changed, self._now = services, changed, now
        self._evaluated: dict[tuple[str, str, str], float] = {}
        cloudwatch = services.cloudwatch
        self._act, self._put = cloudwatch._dispatch_alarm_actions, cloudwatch._put_metric_alarm
        cloudwatch._evaluate_all_alarms = lambda: None
        cloudwatch._evaluate_alarm = lambda alarm: self._evaluate(alarm, self._now())
        cloudwatch._dispatch_alarm_actions = self._tell
        cloudwatch._put_metric_alarm = self._put_metric_alarm

    async def run(self) -> None:
        """Evaluates the alarms for ever."""
        while True:
            await asyncio.sleep(_TICK - self._now() % _TICK)
            self.tick()

    def tick(self) -> None:
        """Evaluates those alarms for which a period has ended since the last time."""
        now = self._now()
        for (account, region, name), alarm in self._services.cloudwatch._alarms.all_items():
            settings = _settings(alarm)
            end = now // settings.step * settings.step if settings else now
            if settings is None or self._evaluated.get((account, region, name)) == end:
                continue
            self._evaluated[account, region, name] = end
            try:
                with request_scope(account, region):
                    self._evaluate(alarm, now)
            except Exception:
                log.exception("an alarm couldn't be evaluated", extra={"alarm": name})

    def _evaluate(self, alarm: Alarm, now: float) -> None:
        settings = _settings(alarm)
        if settings is None:
            return
        points = self._points(alarm, settings, now // settings.step * settings.step)
        before = str(alarm["StateValue"])
        state = state_of(settings, points, before)
        if state == before:
            return
        reason = reason_of(settings, points, before, state)
        alarm["StateValue"], alarm["StateReason"] = state, reason
        alarm["StateReasonData"] = json.dumps(_reason_data(alarm, points, now))
        alarm["StateUpdatedTimestamp"] = alarm["StateTransitionedTimestamp"] = int(now)
        cloudwatch = self._services.cloudwatch
        cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        self._tell(alarm, before, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)

    def _points(self, alarm: Alarm, settings: Settings, end: float) -> list[float | None]:
        """The alarm's statistic in each period before `end`, the newest first."""
        cloudwatch = self._services.cloudwatch
        dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
        stored = cloudwatch._metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions)) or []
        unit = alarm.get("Unit")
        bins: list[list[Any]] = [[] for _ in range(settings.looked_at)]
        for point in stored:
            age = end - point["Timestamp"]
            # A period has the moment at which it begins, not that at which it ends.
            if 0 < age <= settings.period * settings.looked_at and unit in (None, point["Unit"]):
                bins[int(-(-age // settings.period)) - 1].append(point)
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
        return [
            cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points) if points else None
            for points in bins
        ]

    def _tell(self, alarm: Alarm, before: str, state: str, reason: str) -> None:
        """Carries out the alarm's actions, and puts its event on the default bus whether it has actions or not."""
        self._act(alarm, before, state, reason)
        self._services.put_event(
            "aws.cloudwatch", "CloudWatch Alarm State Change", [alarm["AlarmArn"]], event_of(alarm, before)
        )
        self._changed()

    def _put_metric_alarm(self, params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        """Refuses what CloudWatch refuses; clients of the older form protocol aren't checked."""
        asked = cbor_data or {}
        lacking = next((name for name in ("Metrics", "EvaluationCriteria") if asked.get(name)), None)
        refused = f"local.aws lacks alarms on {lacking}." if lacking else _mistake(asked)
        if refused:
            return self._services.cloudwatch._error("ValidationError", refused, 400, use_json=is_json, use_cbor=is_cbor)
        return self._put(params, cbor_data, is_cbor, is_json)


def event_of(alarm: Mapping[str, Any], before: str) -> dict[str, Any]:
    """The detail of the event that tells of the alarm's new state, metric or composite."""
    state = {
        "value": alarm["StateValue"],
        "reason": alarm["StateReason"],
        "timestamp": _text(alarm["StateUpdatedTimestamp"]),
    }
    if "StateReasonData" in alarm:
        state["reasonData"] = alarm["StateReasonData"]
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription", "")}
    if "AlarmRule" in alarm:
        configuration["alarmRule"] = alarm["AlarmRule"]
    else:
        configuration["metrics"] = [_metric_of(alarm)]
    return {
        "alarmName": alarm["AlarmName"],
        "configuration": configuration,
        "previousState": {"value": before},
        "state": state,
    }


def _metric_of(alarm: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []}
    return {
        "id": "metric",
        "metricStat": {
            "metric": {"namespace": alarm["Namespace"], "name": alarm["MetricName"], "dimensions": dimensions},
            "period": alarm["Period"],
            "stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        },
        "returnData": True,
    }


def _reason_data(alarm: Alarm, points: list[float | None], now: float) -> dict[str, Any]:
    return {
        "version": "1.0",
        "queryDate": _text(now),
        "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        "period": alarm["Period"],
        "recentDatapoints": [point for point in reversed(points) if point is not None],
        "threshold": alarm["Threshold"],
    }


def _settings(alarm: Mapping[str, Any]) -> Settings | None:
    """None for an alarm that has none of CloudWatch's plain comparisons, which nothing evaluates here."""
    settings = Settings.of(alarm)
    return settings if alarm.get("MetricName") and mistake(settings) is None else None


def _mistake(asked: Mapping[str, Any]) -> str | None:
    needed = ("Period", "EvaluationPeriods", "Threshold", "ComparisonOperator")
    return mistake(Settings.of(asked)) if all(name in asked for name in needed) else None


def _text(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
