"""CloudWatch's alarms. Their periods are stated in event time."""

from __future__ import annotations

from dataclasses import dataclass

from applier.kinds.core import Kind, Spec, Update, request_of
from loopcast.clock import Clock

_ACTIONS = ("ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions")
_RENAMES = {"name": "AlarmName", "oKActions": "OKActions"}
_METRIC_FIELDS = (
    *("AlarmName", "AlarmDescription", *_ACTIONS),
    *("MetricName", "Namespace", "Dimensions", "Statistic", "ExtendedStatistic", "Unit"),
    *("Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData"),
)
_COMPOSITE_FIELDS = ("AlarmName", "AlarmDescription", "AlarmRule", *_ACTIONS)


@dataclass(frozen=True, kw_only=True)
class _MetricAlarm(Kind):
    def at_this_speed(self, spec: Spec, clock: Clock) -> Spec:
        return {**spec, "Period": clock.alarm_period(spec["Period"])} if "Period" in spec else spec


METRIC_ALARM = _MetricAlarm(
    service="cloudwatch",
    name="MetricAlarm",
    create="PutMetricAlarm",
    read="DescribeAlarms",
    delete="DeleteAlarms",
    key="AlarmName",
    keys={"AlarmName": "AlarmName"},
    within="MetricAlarms[0]",
    with_read={"AlarmTypes": ["MetricAlarm"]},
    renames=_RENAMES,
    fields=_METRIC_FIELDS,
    updates=(Update("PutMetricAlarm", frozenset(_METRIC_FIELDS), request_of(*_METRIC_FIELDS)),),
)

# ACK has no composite alarms.
COMPOSITE_ALARM = Kind(
    service="cloudwatch",
    name="CompositeAlarm",
    ours=True,
    create="PutCompositeAlarm",
    read="DescribeAlarms",
    delete="DeleteAlarms",
    key="AlarmName",
    keys={"AlarmName": "AlarmName"},
    within="CompositeAlarms[0]",
    with_read={"AlarmTypes": ["CompositeAlarm"]},
    renames=_RENAMES,
    fields=_COMPOSITE_FIELDS,
    updates=(Update("PutCompositeAlarm", frozenset(_COMPOSITE_FIELDS), request_of(*_COMPOSITE_FIELDS)),),
)
