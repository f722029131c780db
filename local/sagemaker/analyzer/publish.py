"""Puts the metrics into CloudWatch where AWS puts those of model quality."""

from __future__ import annotations

import math
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker.analyzer.constraints import Metrics
from local.sagemaker.analyzer.settings import AnalysisFailed, Settings
from loopcast import aws


def publish(settings: Settings, metrics: Metrics) -> None:
    """Namespace `aws/sagemaker/Endpoints/model-metrics`, or that of batch transform when there is no endpoint.
    Raises `AnalysisFailed`."""
    batch = not settings.endpoint
    namespace = f"aws/sagemaker/{'ModelMonitoring' if batch else 'Endpoints'}/model-metrics"
    try:
        aws.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=metric_data(settings, metrics))
    except (BotoCoreError, ClientError) as error:
        raise AnalysisFailed(f"the metrics can't be published: {error}") from error


def metric_data(settings: Settings, metrics: Metrics) -> list[dict[str, Any]]:
    """Each metric that has a value, with its standard deviation where it has one."""
    dimensions = {"Endpoint": settings.endpoint, "MonitoringSchedule": settings.schedule}
    moment = settings.metric_time.timestamp() if settings.metric_time else time.time()
    values = {name: metric["value"] for name, metric in metrics.items()}
    values |= {f"{name}_std": metric["standard_deviation"] for name, metric in metrics.items()}
    return [
        {
            "MetricName": name,
            "Timestamp": moment,
            "Value": value,
            "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items() if text],
        }
        for name, value in values.items()
        if math.isfinite(value)
    ]
