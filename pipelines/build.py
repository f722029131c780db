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
from pipelines.steps import step, waiting_step


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="loopcast-build",
    description="Trains models on a feed's newest minutes, judges them and registers the best.",
)
def build(
    feed: str,
    run_id: str,
    commit: str = "",
    lookback_days: int = 14,
    windows: int = 8,
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
        windows: how many rolling windows are held out; at least 8.
        stride: minutes from one window to the next; 0 is what fits the history.
        candidates: the algorithms to train, comma separated; '' is what SSM says.
        images: by algorithm; else the built-in DeepAR's in the region, and ours in the account's registry.
        train_instance_type: of the training jobs.
        transform_instance_type: of the batch transform jobs.
        max_seconds: the longest that a training job may take.
        poll_interval: seconds between two looks at a job.
    """
    read = step(read_features(feed=feed, run_id=run_id, lookback_days=lookback_days))
    held = step(hold_out(feed=feed, run_id=run_id, history=read.outputs["Output"], windows=windows, stride=stride))
    trained = waiting_step(
        train(
            feed=feed,
            run_id=run_id,
            split=held.outputs["Output"],
            instance_type=train_instance_type,
            candidates=candidates,
            images=images,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    models = step(create_models(feed=feed, run_id=run_id, trained=trained.outputs["Output"]))
    backtested = waiting_step(
        backtest(
            feed=feed,
            run_id=run_id,
            models=models.output,
            instance_type=transform_instance_type,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    judged = step(
        evaluate(
            feed=feed,
            run_id=run_id,
            history=read.outputs["Output"],
            split=held.outputs["Output"],
            trained=trained.outputs["Output"],
            backtested=backtested.output,
        )
    )
    decided = step(gate(feed=feed, run_id=run_id, evaluation=judged.outputs["Output"]))
    stored = step(
        store_performance(
            feed=feed,
            run_id=run_id,
            history=read.outputs["Output"],
            split=held.outputs["Output"],
            evaluation=judged.outputs["Output"],
            verdict=decided.outputs["Output"],
        )
    )
    registered = step(
        register(
            feed=feed,
            run_id=run_id,
            trained=trained.outputs["Output"],
            evaluation=judged.outputs["Output"],
            verdict=decided.outputs["Output"],
            performance=stored.output,
            commit=commit,
        )
    )
    result: str = registered.output
    return result
