"""The tuning pipeline: from the feature store to better hyperparameters in SSM, which the next build reads."""

from typing import Any

from kfp import dsl

from components.hold_out.component import hold_out
from components.keep_tuned.component import keep_tuned
from components.read_features.component import read_features
from components.tune.component import tune as search
from pipelines.steps import HOLDS_DATA, calling_step, step, waiting_step


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="loopcast-tune",
    description="Searches an algorithm's hyperparameters, and writes back those that do better.",
)
def tune(
    feed: str,
    run_id: str,
    algorithm: str = "",
    lookback_days: int = 14,
    windows: int = 0,
    stride: int = 0,
    jobs: int = 12,
    parallel: int = 2,
    images: dict[str, Any] = {},  # noqa: B006 - KFP compiles it
    train_instance_type: str = "ml.c5.xlarge",
    transform_instance_type: str = "ml.m5.large",
    max_seconds: int = 3600,
    poll_interval: float = 15.0,
) -> str:
    """Tunes an algorithm, and returns the address of what came of it.

    Args:
        feed: the feed file's text.
        run_id: names the run's jobs and its folder in S3; a run started again with it adopts its jobs.
        algorithm: whose hyperparameters are searched; '' is that of the model in service, else the first candidate.
        lookback_days: how much history is read.
        windows: how many rolling windows are held out to judge what was found; at least 8, 0 is what fits, up to 56.
        stride: minutes from one window to the next; 0 is what fits the history.
        jobs: how many training jobs the search may start.
        parallel: how many of them at the same time.
        images: by algorithm; else the built-in DeepAR's in the region, and ours in the account's registry.
        train_instance_type: of the training jobs.
        transform_instance_type: of the batch transform jobs.
        max_seconds: the longest that a training job may take.
        poll_interval: seconds between two looks at a job.
    """
    read = calling_step(read_features(feed=feed, run_id=run_id, lookback_days=lookback_days), HOLDS_DATA)
    history = read.outputs["Output"]
    held = step(hold_out(feed=feed, run_id=run_id, history=history, windows=windows, stride=stride), HOLDS_DATA)
    found = waiting_step(
        search(
            feed=feed,
            run_id=run_id,
            history=history,
            split=held.outputs["Output"],
            algorithm=algorithm,
            jobs=jobs,
            parallel=parallel,
            images=images,
            instance_type=train_instance_type,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    kept = waiting_step(
        keep_tuned(
            feed=feed,
            run_id=run_id,
            history=history,
            split=held.outputs["Output"],
            tuned=found.outputs["Output"],
            images=images,
            train_instance_type=train_instance_type,
            transform_instance_type=transform_instance_type,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        ),
        HOLDS_DATA,
    )
    result: str = kept.outputs["Output"]
    return result
