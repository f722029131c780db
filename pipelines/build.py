"""The build pipeline: from the feature store to a judged model in the registry."""

from typing import Any

from kfp import dsl

from components.backtest.component import backtest
from components.create_models.component import create_models
from components.evaluate.component import evaluate
from components.gate.component import gate
from components.hold_out.component import hold_out
from components.read_features.component import read_features
from components.register.component import register
from components.store_performance.component import store_performance
from components.train.component import train
from pipelines.steps import HOLDS_DATA, calling_step, step, waiting_step


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="loopcast-build",
    description="Trains models on a feed's newest minutes, judges them and registers the best.",
)
def build(
    feed: str,
    run_id: str,
    commit: str = "",
    lookback_days: int = 14,
    windows: int = 0,
    stride: int = 0,
    candidates: str = "",
    images: dict[str, Any] = {},  # noqa: B006 - KFP compiles it
    train_instance_type: str = "ml.c5.xlarge",
    transform_instance_type: str = "ml.m5.large",
    max_seconds: int = 3600,
    poll_interval: float = 15.0,
) -> str:
    """Builds a model, and returns the address of what came of it.

    Args:
        feed: the feed file's text.
        run_id: names the run's jobs and its folder in S3; a run started again with it adopts its jobs.
        commit: the Git commit that the run comes from, for the lineage.
        lookback_days: how much history is read.
        windows: how many rolling windows are held out; at least 8, and 0 is as many as fit, up to 56.
        stride: minutes from one window to the next; 0 is what fits the history.
        candidates: the algorithms to train, comma separated; '' is what SSM says.
        images: by algorithm; else the built-in DeepAR's in the region, and ours in the account's registry.
        train_instance_type: of the training jobs.
        transform_instance_type: of the batch transform jobs.
        max_seconds: the longest that a training job may take.
        poll_interval: seconds between two looks at a job.
    """
    run = {"feed": feed, "run_id": run_id}
    waits = {"max_seconds": max_seconds, "poll_seconds": poll_interval}
    history = calling_step(read_features(**run, lookback_days=lookback_days), HOLDS_DATA).outputs["Output"]
    split = step(hold_out(**run, history=history, windows=windows, stride=stride), HOLDS_DATA).outputs["Output"]
    trained = waiting_step(
        train(**run, **waits, split=split, candidates=candidates, images=images, instance_type=train_instance_type)
    ).outputs["Output"]
    models = calling_step(create_models(**run, trained=trained)).output
    backtested = waiting_step(backtest(**run, **waits, models=models, instance_type=transform_instance_type)).output
    judged = step(evaluate(**run, history=history, split=split, trained=trained, backtested=backtested), HOLDS_DATA)
    evaluation = judged.outputs["Output"]
    verdict = step(gate(**run, evaluation=evaluation)).outputs["Output"]
    performance = step(
        store_performance(**run, history=history, split=split, evaluation=evaluation, verdict=verdict), HOLDS_DATA
    ).output
    registered = calling_step(
        register(**run, trained=trained, evaluation=evaluation, verdict=verdict, performance=performance, commit=commit)
    )
    result: str = registered.output
    return result
