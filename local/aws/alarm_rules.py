"""When a CloudWatch alarm is in which state: M out of the last N data points, and what missing ones count as.

As AWS documents it ("Configuring how CloudWatch alarms treat missing data"): an alarm looks at more periods than it
evaluates, prefers what is really there in them, and fills in missing data points only as few times as possible.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"

_LOOKED_BACK = 2
"""How many periods more than it evaluates an alarm looks at; AWS's examples have two."""

_HOUR, _DAY, _WEEK = 3600, 86_400, 604_800
_COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


@dataclass(frozen=True)
class Settings:
    """What an alarm's state depends on besides its data, as PutMetricAlarm states it; `missing` is TreatMissingData."""

    period: int
    evaluated: int
    to_alarm: int
    threshold: float
    comparison: str
    missing: str

    @classmethod
    def of(cls, alarm: Mapping[str, Any]) -> Settings:
        """Of an alarm under the API's names."""
        evaluated = int(alarm["EvaluationPeriods"])
        return cls(
            period=int(alarm["Period"]),
            evaluated=evaluated,
            to_alarm=int(alarm.get("DatapointsToAlarm") or evaluated),
            threshold=float(alarm["Threshold"]),
            comparison=str(alarm["ComparisonOperator"]),
            missing=str(alarm.get("TreatMissingData") or "missing"),
        )

    @property
    def looked_at(self) -> int:
        """The evaluation range, in periods."""
        return self.evaluated + _LOOKED_BACK

    @property
    def step(self) -> int:
        """How often, in seconds, the alarm is evaluated: each time on the periods that end then."""
        if self.evaluated * self.period > _DAY:
            return _HOUR
        return 10 if self.period < 60 else 60

    def breaches(self, value: float) -> bool:
        compare, _ = _COMPARISONS[self.comparison]
        return compare(value, self.threshold)


def mistake(settings: Settings) -> str | None:
    """Why CloudWatch refuses an alarm with these settings; None when it takes it."""
    total = settings.period * settings.evaluated
    if settings.period not in (10, 20, 30) and (settings.period < 60 or settings.period % 60):
        return f"Period {settings.period} is invalid: it must be 10, 20, 30 or a multiple of 60."
    if total > (_DAY if settings.period < _HOUR else _WEEK):
        return f"Period times EvaluationPeriods is {total} seconds, which is more than an alarm can look at."
    if settings.to_alarm > settings.evaluated:
        return "DatapointsToAlarm must be at most EvaluationPeriods."
    if settings.comparison not in _COMPARISONS:
        return f"local.aws lacks the ComparisonOperator {settings.comparison}."
    return None


def state_of(settings: Settings, points: Sequence[float | None], before: str) -> str:
    """The state after the evaluation of `points`, the evaluation range with the newest first (None: missing)."""
    real = [point for point in points if point is not None]
    breaching = sum(settings.breaches(point) for point in real[: settings.evaluated])
    lacking = max(0, settings.evaluated - len(real))
    if settings.missing == "breaching":
        breaching += lacking
    if breaching >= settings.to_alarm:
        return ALARM
    if lacking and settings.missing in ("missing", "ignore"):
        if not real:
            return INSUFFICIENT if settings.missing == "missing" else before
        age = _age_of_breach(settings, points) if len(real) < settings.to_alarm else 0
        if age:
            return ALARM if settings.missing == "missing" and age >= settings.to_alarm else before
    return OK


def _age_of_breach(settings: Settings, points: Sequence[float | None]) -> int:
    """How many periods ago the oldest breach was when nothing but breaches has come since; 0 otherwise."""
    ages = [age for age, point in enumerate(points, 1) if point is not None and settings.breaches(point)]
    oldest = max(ages, default=0)
    return oldest if all(point is None or settings.breaches(point) for point in points[:oldest]) else 0


def reason_of(settings: Settings, points: Sequence[float | None], before: str, state: str) -> str:
    """The sentence that explains a transition, much as CloudWatch writes it."""
    real = [point for point in points if point is not None][: settings.evaluated]
    least = settings.to_alarm if state == ALARM else settings.evaluated - settings.to_alarm + 1
    if not real:
        lacking = f"no datapoints were received for {settings.evaluated} periods"
        if state == INSUFFICIENT:
            return f"Insufficient Data: {lacking}."
        return f"Threshold Crossed: {lacking}, and missing datapoints are treated as [{settings.missing}]."
    breaching = [point for point in real if settings.breaches(point)]
    counted = breaching if state == ALARM else [point for point in real if not settings.breaches(point)]
    absent = settings.evaluated - len(real)
    values = ", ".join(f"{point:g}" for point in real)
    missed = f" and {absent} missing ones treated as [{settings.missing}]" if absent else ""
    return (
        f"Threshold Crossed: {len(counted)} out of the last {len(real)} datapoints [{values}]{missed} "
        f"{'were' if state == ALARM else 'were not'} {_COMPARISONS[settings.comparison][1]} the threshold "
        f"({settings.threshold:g}) (minimum {least} datapoint{'s' * (least > 1)} for {before} -> {state} transition)."
    )
