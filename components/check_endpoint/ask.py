"""Asks a stage's endpoint for forecasts and tells CloudWatch how many were unsound."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from components.check_endpoint.check_endpoint import faults
from components.endpoint import invoke
from components.history import History
from components.read_features.read_features import read_newest
from components.run import Run
from loopcast import aws


def unsound(run: Run, stage: str, times: int = 1) -> list[str]:
    """What is wrong with `times` forecasts from the newest history, a clause each, none twice."""
    history = read_newest(run.feed, run.names)
    answers = [_faults(run, stage, history) for _ in range(times)]
    _count(run, stage, sum(bool(found) for found in answers))
    return list(dict.fromkeys(fault for found in answers for fault in found))


def _faults(run: Run, stage: str, history: History) -> list[str]:
    forecast = run.feed.forecast
    try:
        return faults(invoke(run.feed, run.names, stage, history), forecast.steps, forecast.quantiles)
    except (BotoCoreError, ClientError, ValueError) as error:  # ValueError: the answer is no prediction
        return [f"it did not answer ({error})"]


def _count(run: Run, stage: str, number: int) -> None:
    """The metric behind the alarm that takes a deployment back whose forecasts are unsound."""
    dimensions = [{"Name": "Feed", "Value": run.feed.name}, {"Name": "Stage", "Value": stage}]
    datum = {"MetricName": "UnsoundForecasts", "Dimensions": dimensions, "Value": number, "StorageResolution": 1}
    aws.client("cloudwatch").put_metric_data(Namespace=run.names.metric_namespace, MetricData=[datum])
