"""Step: keep what a search has found if it is better than what is there, on windows that neither has seen."""

from typing import Any

from kfp.dsl import Metrics, Output

from components.step import component


@component
def keep_tuned(
    feed: str,
    run_id: str,
    history: str,
    split: str,
    tuned: str,
    images: dict[str, Any],
    train_instance_type: str,
    transform_instance_type: str,
    max_seconds: int,
    poll_seconds: float,
    metrics: Output[Metrics],
) -> str:
    """Returns the address of the run's result, runs/<run-id>/result.json."""
    from components.history import History
    from components.keep_tuned.keep_tuned import judge, keep
    from components.run import open_run, read_json, write_json
    from components.train.train import Settings
    from components.windows import Split

    run = open_run(feed, run_id)
    series, windows = History.from_json(read_json(history)), Split.from_json(read_json(split))
    settings = Settings(train_instance_type, images, max_seconds, poll_seconds)
    result = judge(run, series, windows, read_json(tuned), settings, transform_instance_type)
    if result["kept"]:
        keep(run.names, result["algorithm"], result["hyperparameters"]["tuned"])
    for role, loss in result["losses"].items():
        metrics.log_metric(f"loss of {role}", loss)
    return write_json(run.uri("result.json"), result)
