"""The specification of a ReleasePolicy. All times are event time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from loopcast.names import Names
from operators.durations import Duration
from operators.models import Model, rules
from operators.retraining_spec import Arguments, Name, Retry

STAGES = ("staging", "production")
Version = Annotated[int, Field(ge=1)]


class Stage(Model):
    """How a stage takes a version, and when it gives it back."""

    bake_time: Duration = Field(default=timedelta(hours=6), description="a version is rolled back on alarms so long")
    settle_time: Duration | None = Field(
        default=None,
        description="alarms that stood before the deployment and after it so long speak against the version, too",
    )
    alarms: Annotated[tuple[Name, ...], Field(max_length=10)] | None = Field(
        default=None, description="CloudWatch alarms that speak against a version (default: the stage's degraded)"
    )
    arguments: Arguments = Field(default_factory=dict, description="of the deploy pipeline, over its defaults")


class Automatic(Model):
    """When production takes what staging serves without a change in Git."""

    min_time_in_staging: Duration = timedelta(days=1)
    max_loss_ratio: float = Field(default=1.0, gt=0, description="of staging's loss to its threshold")


class Production(Stage):
    """Production takes what staging serves and has baked, when Git or the automatic rule says so."""

    model_config = rules(
        ("!(has(self.approvedVersion) && has(self.automatic))", "give approvedVersion or automatic, not both")
    )

    approved_version: Version | None = Field(default=None, description="the model package version that may serve")
    automatic: Automatic | None = None

    @model_validator(mode="after")
    def _one(self) -> Production:
        if self.approved_version is not None and self.automatic is not None:
            raise ValueError("give approvedVersion or automatic, not both")
        return self


class Monitor(Model):
    """The monitor pipeline, which runs on each stage that serves."""

    interval: Duration = timedelta(hours=1)
    pipeline: Name = "monitor"
    arguments: Arguments = Field(default_factory=dict)


class ReleaseSpec(Model):
    """How approved models come into service, and out of it again."""

    feed: Name
    staging: Stage = Stage()
    production: Production = Production()
    monitor: Monitor = Monitor()
    retry: Retry = Retry()
    run_timeout: Duration = Field(default=timedelta(hours=6), description="a run that takes longer is cancelled")
    suspend: bool = Field(default=False, description="launch nothing")
    dry_run: bool = Field(default=False, description="decide and say so, and launch nothing")

    def stage(self, name: str) -> Stage:
        return self.production if name == "production" else self.staging

    def alarms(self, stage: str) -> tuple[str, ...]:
        """The alarms that speak against what `stage` serves."""
        given = self.stage(stage).alarms
        return (Names(self.feed, "").alarm(stage, "degraded"),) if given is None else given
