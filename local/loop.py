"""The closed loop of the demo: the world changes, and the stack mends its model by itself.

Nothing here retrains, deploys or measures: it changes the simulator's regime, approves as a person would, slows the
source while pipelines run, and writes down when the alarm fired and what the operator did.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from components.models import describe_endpoint, served_variant
from local.control import ReplayedSource
from local.decisions import Operator
from local.parts import Settings
from local.processes import StackError
from local.source.regime import Regime
from local.stack import progress
from loopcast.aws import client
from loopcast.minute import iso_minute

STAGE = "staging"
REGIME = Regime(fees=4, volume=0.5)
STEP = timedelta(minutes=40)
MOST_STEPS = 4
"""Fees become so many times as high, and after a step again, until the alarm fires: a model that looks at the last hour
only has met a single change before two horizons are judged."""
SLOWER = 2.0
"""How much slower than the rest of the demo events come, so that each horizon is judged before the next is over."""
LONGEST_SECONDS = 600.0
"""Wall time after which the loop counts as not closed."""
_LARGEST = 1000.0
_QUIET_RECORDS = 2
_RECOVERED_RECORDS = 2
_POLL_SECONDS = 0.5


class NotClosed(Exception):
    """The loop did not close in time; the message says what it was waiting for."""


@dataclass(frozen=True)
class Mark:
    """Something that happened: at an event time, and so many wall seconds after the first change of regime (0 before
    it)."""

    what: str
    event_time: str
    seconds: float


class ClosedLoop:
    """Drives `source` and watches the operator; `approve` is asked about a build's result."""

    def __init__(
        self,
        settings: Settings,
        source: ReplayedSource,
        operator: Operator,
        approve: Callable[[dict[str, Any]], None],
        regime: Regime,
    ) -> None:
        self.source, self.operator, self.approve, self.regime = source, operator, approve, regime
        self.speed = settings.speed / SLOWER
        self.names = settings.names
        self.marks: list[Mark] = []
        self._deadline = time.monotonic() + LONGEST_SECONDS
        self._changed = 0.0
        self._changes: list[datetime] = []
        self._answered: set[str] = set()
        self._told: set[str] = set()

    def run(self) -> dict[str, Any]:
        """The report's part on the loop; `closed` says whether the error fell back in time, else `reason` why not."""
        reason = ""
        try:
            self._close()
        except NotClosed as error:
            reason = str(error)
            progress(f"  {reason}")
        return {
            "closed": not reason,
            "reason": reason,
            "regime": self.regime.model_dump(),
            "marks": [asdict(mark) for mark in self.marks],
            "records": self._records(),
            "decisions": self.operator.decisions(),
        }

    def _close(self) -> None:
        self.source.set_speed(self.speed)
        self._until(self._quiet, "the model's loss in quiet hours")
        self._until(self._alarm_after_changes, "the alarm")
        self._mark("alarm")
        self._answer(self._until(self._launched, "the operator's retraining"))
        self._until(self._recovered, "a loss below the threshold again")
        self._mark("error fell back")

    def _quiet(self) -> bool:
        """Whether no alarm stands, and the newest losses are below their threshold; noise may ask for a retraining."""
        if run := self._launched():
            self._answer(run)
        return self._below(_QUIET_RECORDS) and not self._alarmed()

    def _alarm_after_changes(self) -> bool:
        """Whether the alarm stands; changes the regime at first, and again after each step."""
        now = self.source.now()
        if not self._changes or (now >= self._changes[-1] + STEP and len(self._changes) < MOST_STEPS):
            self._change_regime(now)
        return self._alarmed()

    def _change_regime(self, now: datetime) -> None:
        fees = min(self.regime.fees ** (len(self._changes) + 1), _LARGEST)
        self.source.change_regime(fees=fees, volume=self.regime.volume)
        if not self._changes:
            self._changed = time.monotonic()
        self._changes.append(now)
        self._mark(f"fees times {fees:g}")

    def _answer(self, run: str) -> None:
        """Until the retraining is over and what it found is in service, at real time meanwhile.

        Where nothing beats the champion, which has met the new regime by then, the champion goes on.
        """
        self._answered.add(run)
        self._mark("retraining")
        self.source.set_speed(1.0)
        self._until(lambda: self.operator.over(run), f"the end of the run {run}")
        built = self.operator.result(run)
        if built is None:
            raise NotClosed(f"the retraining {run} failed: its log is {self.operator.log(run)}")
        progress(f"  {built['decision']}")
        if built["model_package_arn"]:
            self._approve(built)
            self._released(version_of(built))
            self._mark("new model in service")
        self.source.set_speed(self.speed)

    def _approve(self, built: dict[str, Any]) -> None:
        try:
            self.approve(built)
        except StackError as error:
            raise NotClosed(str(error)) from error

    def _launched(self) -> str:
        """The id of a build that the operator has launched and that has not been answered yet; '' if there is none."""
        return next((run for run in self.operator.runs("build") if run not in self._answered), "")

    def _recovered(self) -> bool:
        return self._below(_RECOVERED_RECORDS)

    def _released(self, version: int) -> None:
        """Until the operator has brought the version into service."""

        def served() -> bool:
            return all([*(self.operator.over(run) for run in self.operator.runs("deploy")), self._version() == version])

        self._until(served, f"version {version} in service")

    # --- what is known --------------------------------------------------------------------------------------
    def _below(self, number: int) -> bool:
        """Whether the newest `number` ratios of the version in service are there and below 1."""
        version = str(self._version())
        records = [record for record in self._records() if record["model_version"] == version]
        newest = [record["ratio"] for record in records if record["ratio"] is not None][-number:]
        return len(newest) == number and all(ratio < 1 for ratio in newest)

    def _records(self) -> list[dict[str, Any]]:
        """The monitor's records of the stage, oldest first; tells of each new one."""
        s3 = client("s3")
        prefix = f"{self.names.monitoring_prefix}{STAGE}/history/"
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.names.bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        records = [json.loads(s3.get_object(Bucket=self.names.bucket, Key=key)["Body"].read()) for key in keys]
        ordered = sorted(records, key=lambda record: record["end"])
        for record in ordered:
            self._tell(record)
        return ordered

    def _tell(self, record: dict[str, Any]) -> None:
        if record["end"] not in self._told and record["loss"] is not None:
            self._told.add(record["end"])
            share = "" if record["ratio"] is None else f", {record['ratio']:.2f} of its threshold"
            progress(
                f"  until {record['end'][11:16]}: loss {record['loss']:.4g}{share} (version {record['model_version']})"
            )

    def _alarmed(self) -> bool:
        self._records()
        name = self.names.alarm(STAGE, "degraded")
        found = client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm", "MetricAlarm"])
        states = [alarm["StateValue"] for kind in ("CompositeAlarms", "MetricAlarms") for alarm in found.get(kind, [])]
        return "ALARM" in states

    def _version(self) -> int:
        """The version of the model package that the stage serves, settled; 0 when there is none."""
        return served_version(self.names.endpoint(STAGE))

    # --- helpers --------------------------------------------------------------------------------------------
    def _mark(self, what: str) -> None:
        since = time.monotonic() - self._changed if self._changes else 0.0
        mark = Mark(what, iso_minute(self.source.now()), round(since, 1))
        self.marks.append(mark)
        progress(f"  {what}: {mark.event_time[11:19]} of event time, {mark.seconds:.0f} s after the change")

    def _until(self, found: Callable[[], Any], what: str) -> Any:
        """What `found` returns once it is true. Raises `NotClosed` at the deadline."""
        while not (value := found()):
            if time.monotonic() > self._deadline:
                raise NotClosed(f"after {LONGEST_SECONDS:.0f} s the loop still waited for {what}")
            time.sleep(_POLL_SECONDS)
        return value


def served_version(endpoint: str) -> int:
    """The version of the model package behind an endpoint that is in service; else 0."""
    described = describe_endpoint(endpoint)
    if described is None or described["EndpointStatus"] != "InService":
        return 0
    model = client("sagemaker").describe_model(ModelName=served_variant(described)["ModelName"])
    arn = str(model["PrimaryContainer"].get("ModelPackageName", ""))
    return int(arn.rpartition("/")[2]) if arn else 0


def version_of(built: dict[str, Any]) -> int:
    """The version of the model package that a build's result says waits for approval."""
    return int(built["model_package_arn"].rpartition("/")[2])
