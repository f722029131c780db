"""Backtests each model on the same held-out windows, each by a batch transform job."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from components.algorithms import require_models
from components.jobs import Job, completed, start, wait
from components.models import tags
from components.run import Refused, Run
from loopcast.clock import Clock
from loopcast.feed import Feed
from loopcast.forecast import INFERENCE_CONFIG, configuration

_log = logging.getLogger(__name__)


def backtest(
    run: Run, models: Mapping[str, str], instance_type: str, max_seconds: int, poll_seconds: float
) -> dict[str, dict[str, str]]:
    """`predictions` has the address of each model's predictions by role, `failed` why others have none.

    Each model gets what it gets behind an endpoint: the same request and configuration. One that can't answer does
    not hold up the others. Raises `Refused` when none of this run's models can.
    """
    jobs = {role: _start(run, role, model, instance_type) for role, model in models.items()}
    over = wait(list(jobs.values()), poll_seconds, max_seconds, Clock())
    predictions, failed = {}, {}
    for (role, job), description in zip(jobs.items(), over, strict=True):
        try:
            predictions[role] = _output(completed(job, description))
        except Refused as error:
            failed[role] = str(error)
            _log.warning("%s can't be judged: %s", role, error)
    require_models(predictions, failed)
    return {"predictions": predictions, "failed": failed}


def _start(run: Run, role: str, model: str, instance_type: str) -> Job:
    return start(run, "transform", f"backtest-{role}", lambda name: _request(run, model, instance_type, name))


def _request(run: Run, model: str, instance_type: str, name: str) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": run.uri("backtest", "windows.jsonl")}}
    return {
        "ModelName": model,
        "BatchStrategy": "SingleRecord",
        "MaxPayloadInMB": 6,
        "Environment": {INFERENCE_CONFIG: inference_config(run.feed)},
        "TransformInput": {"DataSource": source, "ContentType": "application/jsonlines", "SplitType": "Line"},
        "TransformOutput": {
            "S3OutputPath": run.uri("predictions", name),
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": instance_type, "InstanceCount": 1},
        "Tags": tags(run.names, run=run.id),
    }


def inference_config(feed: Feed) -> str:
    return json.dumps(configuration(feed.forecast.quantiles).model_dump())


def _output(description: Mapping[str, Any]) -> str:
    return f"{description['TransformOutput']['S3OutputPath']}/windows.jsonl.out"
