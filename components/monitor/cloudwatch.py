"""A run's record as CloudWatch metrics, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from loopcast import aws
from loopcast.names import Names

_METRICS = {
    "QuantileLoss": "loss",
    "QuantileLossRatio": "ratio",
    "BaselineLoss": "baseline_loss",
    "Coverage": "coverage",
    "Bias": "bias",
    "MissingMinutes": "missing",
    "Volume": "volume",
    "FeatureDrift": "drift",
}
_OF_A_MODEL = ("QuantileLoss", "Coverage", "Bias")


def metric_data(record: Mapping[str, Any], at: datetime) -> list[dict[str, Any]]:
    """The `MetricData` of a record at the wall time `at`; what is not known is left out."""
    stage = {"Feed": record["feed"], "Stage": record["stage"]}
    data = _data(record, stage, tuple(_METRICS), at)
    data += _data(record, {**stage, "ModelVersion": record["model_version"]}, _OF_A_MODEL, at)
    for label, figures in record["horizon"].items():
        data += _data(figures, {**stage, "HorizonBucket": label}, _OF_A_MODEL, at)
    return data


def _data(
    figures: Mapping[str, Any], dimensions: Mapping[str, str], metrics: tuple[str, ...], at: datetime
) -> list[dict[str, Any]]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return [
        {
            "MetricName": metric,
            "Dimensions": named,
            "Timestamp": at,
            "Value": figures[_METRICS[metric]],
            "StorageResolution": 1,  # so that an alarm's period may be shorter than a minute at a speed-up
        }
        for metric in metrics
        if figures.get(_METRICS[metric]) is not None
    ]


def put(record: Mapping[str, Any], at: datetime) -> None:
    """Puts the metrics of `record`; the client tries again a few times. Raises AWS errors."""
    aws.client("cloudwatch").put_metric_data(Namespace=Names.metric_namespace, MetricData=metric_data(record, at))
