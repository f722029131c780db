"""Step: search an algorithm's hyperparameters on what lies before the held-out windows."""

from typing import Any

from kfp.dsl import Metrics, Output

from components.step import component


@component
def tune(
    feed: str,
    run_id: str,
    history: str,
    split: str,
    algorithm: str,
    jobs: int,
    parallel: int,
    images: dict[str, Any],
    instance_type: str,
    max_seconds: int,
    poll_seconds: float,
    metrics: Output[Metrics],
) -> str:
    """Returns the address of the best that was found, runs/<run-id>/tuned.json."""
    from components.history import History
    from components.run import open_run, read_json, write_json
    from components.train.train import Settings
    from components.tune.tune import Search, algorithm_to_tune, tune, write_channels
    from components.windows import Split

    run = open_run(feed, run_id)
    windows = write_channels(run, History.from_json(read_json(history)), Split.from_json(read_json(split)))
    settings = Settings(instance_type, images, max_seconds, poll_seconds)
    found = tune(run, algorithm_to_tune(run.names, algorithm), Search(jobs, parallel), settings)
    metrics.log_metric("windows", windows)
    metrics.log_metric("trials", found.trials)
    metrics.log_metric("loss", found.loss)
    return write_json(run.uri("tuned.json"), found.to_json())
