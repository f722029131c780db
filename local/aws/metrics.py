"""Mends ministack's metrics: GetMetricData gives the newest value first unless it is asked otherwise, as on AWS, and
old points are looked for now and then; ministack copies every point there is to find them, at each request."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ministack.services import cloudwatch

_EVICTION_SECONDS = 60.0

_evict = cloudwatch._evict_old_metrics
_get_metric_data = cloudwatch._get_metric_data


def install() -> None:
    """Puts the mended functions in the place of ministack's."""
    cloudwatch._evict_old_metrics = _Eviction()
    cloudwatch._get_metric_data = get_metric_data


class _Eviction:
    """Drops old points at most once a minute."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self) -> None:
        if time.monotonic() - self._last >= _EVICTION_SECONDS:
            self._last = time.monotonic()
            _evict()


def get_metric_data(params: Any, data: Mapping[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
    """As ministack's, which gives the oldest first; clients that don't speak JSON, as boto3 does, are answered so."""
    status, headers, body = _get_metric_data(params, data, is_cbor, is_json)
    if not is_json or status != 200 or data.get("ScanBy") == "TimestampAscending":
        return status, headers, body
    answer = json.loads(body)
    for result in answer["MetricDataResults"]:
        result["Timestamps"].reverse()
        result["Values"].reverse()
    return status, headers, json.dumps(answer).encode()
