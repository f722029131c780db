"""Backtests each model on the same held-out windows, each by a batch transform job."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from components.jobs import Job, completed, start, wait
from components.models import tags
from components.run import Refused, Run
from loopcast.clock import Clock
from loopcast.feed import Feed
from loopcast.forecast import INFERENCE_CONFIG, configuration

_log = logging.getLogger(__name__)


def backtest(
    run: Run, models: Mapping[str, str], instance_type: str, max_seconds: int, poll_seconds: float
) -> dict[str, str]:
    """The address of the predictions of each model by its role.

    Raises `Refused` when the job of a model of this run fails. A model in production that can't answer must not keep
    a better one from taking its place: it is left out.
    """
    jobs = {role: _start(run, role, model, instance_type) for role, model in models.items()}
    over = wait(list(jobs.values()), poll_seconds, max_seconds, Clock())
    outputs = {}
    for (role, job), description in zip(jobs.items(), over, strict=True):
        try:
            outputs[role] = _output(completed(job, description))
        except Refused as error:
            if role != "production":
                raise
            _log.warning("the model in production can't be judged: %s", error)
    return outputs


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
