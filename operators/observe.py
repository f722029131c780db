"""What an operator sees of AWS. What can't be read is left out, logged and counted: the decision says so."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client import Counter

from loopcast import aws
from loopcast.clock import Clock
from loopcast.names import Names
from operators.event_time import NewestMinute, NoMinutes
from operators.release import Package, ReleaseObserved, Served
from operators.release_spec import STAGES, ReleaseSpec
from operators.retraining import Observed
from operators.retraining_spec import MetricTrigger, RetrainingSpec, Threshold
from operators.runs import Run

log = logging.getLogger(__name__)
T = TypeVar("T")
PREVIOUS = "loopcast:previous-config"
"""The tag of an endpoint's configuration that names the one before."""
_SERVE_NOTHING = {"Failed", "Deleting"}
"""An endpoint of such a status never served what it is configured for, or does no more."""
_LOSS_PERIOD = timedelta(hours=1)
_LOSS_POINTS = 6
_ABSENT = re.compile(r"not find|not found|does not exist|doesn't exist", re.IGNORECASE)
unreadable = Counter("loopcast_operator_unreadable_total", "What could not be read when it was looked for", ["what"])


@dataclass
class AwsObserver:
    """Sees the feed whose names are `names`. At a speed other than 1 the time is the newest minute's end."""

    names: Names
    clock: Clock
    _served: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._minutes = NewestMinute(self.names, self.names.feed)

    def now(self) -> datetime:
        if self.clock.speed == 1:
            return datetime.fromtimestamp(self.clock.now(), UTC)
        return self._minutes.end()

    def retraining(self, spec: RetrainingSpec, now: datetime, runs: list[Run], digest: str) -> Observed:
        metric, tuning, triggers = spec.triggers.metric, spec.tuning, spec.triggers
        stage = {"Feed": spec.feed, "Stage": tuning.stage}
        tunes = tuning.when_worse_than_baseline
        return Observed(
            now=now,
            runs=runs,
            alarms=_known("alarms", lambda: alarm_states(triggers.alarms), {}),
            datapoints=_known("metric", lambda: self._datapoints(metric), ()) if metric else (),
            threshold=_known("threshold", lambda: threshold(metric.threshold), None) if metric else None,
            data_end=_known("minutes", self._minutes.end, None) if triggers.new_data else None,
            trained_until=_known("packages", lambda: trained_until(self.names), None) if triggers.new_data else None,
            digest=digest,
            loss=_known("loss", lambda: self._newest("QuantileLoss", stage), None) if tunes else None,
            baseline_loss=_known("loss", lambda: self._newest("BaselineLoss", stage), None) if tunes else None,
        )

    def release(self, spec: ReleaseSpec, now: datetime, runs: list[Run]) -> ReleaseObserved:
        watched = [name for stage in STAGES for name in spec.alarms(stage)]
        ratio = {"Feed": spec.feed, "Stage": "staging"}
        known = {stage: _known("endpoint", lambda stage=stage: self._stage(stage), None) for stage in STAGES}  # type: ignore[misc]
        return ReleaseObserved(
            now=now,
            runs=runs,
            packages=_known("packages", lambda: packages(self.names), ()),
            stages={stage: served for stage, served in known.items() if served is not None},
            alarms=_known("alarms", lambda: alarm_states(watched), {}),
            loss_ratio=_known("loss", lambda: self._mean("QuantileLossRatio", ratio), None),
        )

    def _datapoints(self, metric: MetricTrigger) -> Sequence[float]:
        """The metric's newest datapoints, oldest first, and a few more than decide."""
        return self._values(
            metric.namespace, metric.name, metric.dimensions, metric.statistic, metric.period, metric.datapoints + 3
        )

    def _newest(self, metric: str, dimensions: Mapping[str, str]) -> float | None:
        values = self._losses(metric, dimensions)
        return values[-1] if values else None

    def _mean(self, metric: str, dimensions: Mapping[str, str]) -> float | None:
        values = self._losses(metric, dimensions)
        return sum(values) / len(values) if values else None

    def _losses(self, metric: str, dimensions: Mapping[str, str]) -> Sequence[float]:
        return self._values(self.names.metric_namespace, metric, dimensions, "Average", _LOSS_PERIOD, _LOSS_POINTS)

    def _values(
        self, namespace: str, name: str, dimensions: Mapping[str, str], statistic: str, period: timedelta, count: int
    ) -> Sequence[float]:
        seconds = self.clock.alarm_period(period.total_seconds())
        end = datetime.fromtimestamp(self.clock.now(), UTC) + timedelta(seconds=1)
        described = [{"Name": key, "Value": value} for key, value in dimensions.items()]
        metric = {"Namespace": namespace, "MetricName": name, "Dimensions": described}
        answer = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=[
                {"Id": "m", "MetricStat": {"Metric": metric, "Period": seconds, "Stat": statistic}, "ReturnData": True}
            ],
            StartTime=end - timedelta(seconds=seconds * (count + 1)),
            EndTime=end,
            ScanBy="TimestampAscending",
        )
        return tuple(float(value) for value in answer["MetricDataResults"][0]["Values"])[-count:]

    def _stage(self, stage: str) -> Served:
        sagemaker, name = aws.client("sagemaker"), self.names.endpoint(stage)
        endpoint = _or_none(lambda: sagemaker.describe_endpoint(EndpointName=name))
        if endpoint is None:
            return Served()
        config, status = str(endpoint["EndpointConfigName"]), str(endpoint["EndpointStatus"])
        if status in _SERVE_NOTHING:
            return Served(status)
        if config not in self._served:
            self._served = {**dict(list(self._served.items())[-20:]), config: _configured(config)}
        version, has_previous = self._served[config]
        return Served(status, version, has_previous)


def alarm_states(names: Sequence[str]) -> dict[str, str]:
    """The state of each of these metric and composite alarms that exists. Raises AWS errors."""
    if not names:
        return {}
    answer = aws.client("cloudwatch").describe_alarms(
        AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"], MaxRecords=100
    )
    found = [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}


def threshold(wanted: Threshold) -> float | None:
    """The threshold's value, from SSM where it lies there. Raises AWS errors, and `ValueError` for other texts."""
    if wanted.parameter is None:
        return wanted.value
    return float(aws.client("ssm").get_parameter(Name=wanted.parameter)["Parameter"]["Value"])


def packages(names: Names) -> tuple[Package, ...]:
    """The newest hundred versions in the feed's model package group. Raises AWS errors."""
    return tuple(
        Package(
            int(summary["ModelPackageVersion"]),
            str(summary["ModelPackageArn"]),
            summary.get("ModelApprovalStatus") == "Approved",
        )
        for summary in _summaries(names, 100)
    )


def trained_until(names: Names) -> datetime | None:
    """The end of the data of the newest model, whatever became of it. Raises AWS errors."""
    for summary in _summaries(names, 1):
        described = aws.client("sagemaker").describe_model_package(ModelPackageName=summary["ModelPackageArn"])
        ended = described.get("CustomerMetadataProperties", {}).get("data_end")
        return datetime.fromisoformat(ended) if ended else None
    return None


def _summaries(names: Names, count: int) -> list[dict[str, Any]]:
    answer = aws.client("sagemaker").list_model_packages(
        ModelPackageGroupName=names.model_package_group,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=count,
    )
    return list(answer["ModelPackageSummaryList"])


def _configured(config: str) -> tuple[int, bool]:
    """The package version that the configuration's main variant serves (0: none), and whether it names one before."""
    sagemaker = aws.client("sagemaker")
    described = sagemaker.describe_endpoint_config(EndpointConfigName=config)
    variant = max(described["ProductionVariants"], key=lambda item: item.get("InitialVariantWeight", 1.0))
    model = sagemaker.describe_model(ModelName=variant["ModelName"])
    containers = [model.get("PrimaryContainer") or {}, *model.get("Containers", [])]
    arns = [container["ModelPackageName"] for container in containers if container.get("ModelPackageName")]
    version = arns[0].rpartition("/")[2] if arns else ""
    tags = sagemaker.list_tags(ResourceArn=described["EndpointConfigArn"])["Tags"]
    return int(version) if version.isdigit() else 0, any(tag["Key"] == PREVIOUS and tag["Value"] for tag in tags)


def _or_none(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ClientError as error:
        if _ABSENT.search(error.response["Error"].get("Message", "")):
            return None
        raise


def _known(what: str, call: Callable[[], T], otherwise: T) -> T:
    try:
        return call()
    except (BotoCoreError, ClientError, ValueError, NoMinutes) as error:
        unreadable.labels(what).inc()
        log.warning("%s can't be read", what, extra={"error": str(error)})
        return otherwise
