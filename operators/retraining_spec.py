"""The specification of a RetrainingPolicy. All times are event time, and UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from operators.durations import Duration
from operators.models import Model, rules

Name = Annotated[str, Field(min_length=1, max_length=255)]
Argument = Annotated[str, Field(max_length=1024)]
_TIME_OF_DAY = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
Arguments = Annotated[dict[str, Argument], Field(max_length=64)]


def _cron(text: str) -> str:
    try:
        due = next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron expression of five fields: {error}") from error
    if len(text.split()) != 5:
        raise ValueError(f"{text!r} is no cron expression of five fields")
    if due is None:
        raise ValueError(f"{text!r} never comes")
    return text


Cron = Annotated[str, AfterValidator(_cron), Field(min_length=9, max_length=100)]


def _time_of_day(text: object) -> object:
    if isinstance(text, time):
        return text
    if not isinstance(text, str) or not re.fullmatch(_TIME_OF_DAY, text):
        raise ValueError(f'{text!r} is no time of day: write it in quotes, like "22:00"')
    return time.fromisoformat(text)


TimeOfDay = Annotated[
    time,
    BeforeValidator(_time_of_day),
    PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": _TIME_OF_DAY}),
]


class Threshold(Model):
    """The level above which a metric is too high: a value, or an SSM parameter that holds it."""

    model_config = rules(("has(self.value) != has(self.parameter)", "give either value or parameter"))

    value: float | None = None
    parameter: Name | None = Field(default=None, description="name of an SSM parameter that holds a number")

    @model_validator(mode="after")
    def _either(self) -> Threshold:
        if (self.value is None) == (self.parameter is None):
            raise ValueError("give either value or parameter")
        return self


class MetricTrigger(Model):
    """A CloudWatch metric that is too high at each of its newest datapoints. It stands until it falls to the rearm
    level."""

    namespace: Name = "Loopcast"
    name: Name = "QuantileLoss"
    dimensions: dict[str, Name] = Field(default_factory=dict, max_length=30)
    statistic: Literal["Average", "Maximum", "Minimum", "Sum", "SampleCount"] = "Average"
    period: Duration = timedelta(hours=1)
    datapoints: int = Field(default=2, ge=1, le=24, description="how many datapoints in a row must be too high")
    threshold: Threshold
    rearm: float = Field(default=0.9, gt=0, le=1, description="share of the threshold at which the trigger rearms")


class Schedule(Model):
    """Retrain in any case: so long after the newest run that did not fail, or when a cron expression says."""

    model_config = rules(("has(self.every) != has(self.cron)", "give either every or cron"))

    every: Duration | None = None
    cron: Cron | None = Field(default=None, description="five fields, in UTC")

    @model_validator(mode="after")
    def _either(self) -> Schedule:
        if (self.every is None) == (self.cron is None):
            raise ValueError("give either every or cron")
        return self


class Triggers(Model):
    """What makes a retraining due; each stands by itself."""

    alarms: tuple[Name, ...] = Field(default=(), max_length=10, description="CloudWatch alarms, any of them in ALARM")
    metric: MetricTrigger | None = None
    schedule: Schedule | None = None
    new_data: Duration | None = Field(default=None, description="this much data since the newest trained model's")
    changed_code: bool = Field(default=False, description="another compiled pipeline than the one launched last")


class QuietWindow(Model):
    """Hours of each day, in UTC, in which nothing is launched; it may go over midnight."""

    model_config = rules(("self.start != self.end", "start and end must differ"))

    start: TimeOfDay
    end: TimeOfDay

    @model_validator(mode="after")
    def _differ(self) -> QuietWindow:
        if self.start == self.end:
            raise ValueError("start and end must differ")
        return self

    def holds(self, moment: datetime) -> bool:
        now = moment.astimezone(UTC).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end


class Retry(Model):
    """How long failed runs are waited out while a trigger stands, besides the cool-down: twice as long each time."""

    backoff: Duration = timedelta(minutes=30)
    maximum: Duration = timedelta(days=1)
    jitter: float = Field(default=0.2, ge=0, le=1, description="up to this share longer")


class Tuning(Model):
    """Search for better hyperparameters before a retraining, when the model in service is worse than the baseline."""

    when_worse_than_baseline: bool = False
    stage: Literal["staging", "production"] = "staging"
    cooldown: Duration = timedelta(days=7)
    pipeline: Name = "tune"
    arguments: Arguments = Field(default_factory=dict)


class PipelineReference(Model):
    """The pipeline that retrains, and arguments over its defaults."""

    name: Name = "build"
    arguments: Arguments = Field(default_factory=dict)


class RetrainingSpec(Model):
    """When a feed's model is retrained."""

    model_config = rules(
        (
            "self.triggers.alarms.size() > 0 || has(self.triggers.metric) || has(self.triggers.schedule)"
            " || has(self.triggers.newData) || self.triggers.changedCode || self.manualOnly",
            "give a trigger, or say manualOnly",
        )
    )

    feed: Name
    triggers: Triggers = Triggers()
    manual_only: bool = Field(default=False, description="retrain by the annotation loopcast.io/retrain alone")
    cooldown: Duration = Field(default=timedelta(hours=6), description="least time from one launch to the next")
    max_concurrent_runs: int = Field(default=1, ge=1, le=10)
    quiet_hours: tuple[QuietWindow, ...] = Field(default=(), max_length=10)
    retry: Retry = Retry()
    run_timeout: Duration = Field(default=timedelta(hours=12), description="a run that takes longer is cancelled")
    tuning: Tuning = Tuning()
    pipeline: PipelineReference = PipelineReference()
    suspend: bool = Field(default=False, description="launch nothing")
    dry_run: bool = Field(default=False, description="decide and say so, and launch nothing")

    @model_validator(mode="after")
    def _sound(self) -> RetrainingSpec:
        given = self.triggers
        automatic = given.alarms or given.metric or given.schedule or given.new_data or given.changed_code
        if not automatic and not self.manual_only:
            raise ValueError("give a trigger, or say manualOnly")
        if self.quiet_hours and all(self.quiet(_minute(index)) for index in range(1440)):
            raise ValueError("quietHours leave no minute of the day to launch in")
        return self

    def quiet(self, moment: datetime) -> bool:
        return any(window.holds(moment) for window in self.quiet_hours)


def _minute(index: int) -> datetime:
    return datetime(2026, 1, 1, index // 60, index % 60, tzinfo=UTC)
