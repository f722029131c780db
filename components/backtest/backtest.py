"""Backtests each model on the same held-out windows, each by a batch transform job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from components.algorithms import require_models
from components.jobs import Job, start
from components.models import tags
from components.run import Run
from components.together import run_together
from loopcast.feed import Feed
from loopcast.forecast import INFERENCE_CONFIG, configuration


def backtest(
    run: Run, models: Mapping[str, str], instance_type: str, max_seconds: int, poll_seconds: float
) -> dict[str, dict[str, str]]:
    """`predictions` has the address of each model's predictions by role, `failed` why others have none.

    Each model gets what it gets behind an endpoint: the same request and configuration. Raises `Refused` when none of
    this run's models can answer.
    """
    starts = {role: partial(_start, run, role, model, instance_type) for role, model in models.items()}
    done, failed = run_together(starts, poll_seconds, max_seconds)
    require_models(done, failed)
    return {"predictions": {role: _output(description) for role, description in done.items()}, "failed": failed}


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
