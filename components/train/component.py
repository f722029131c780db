"""Step: train the candidates and the empirical baseline."""

from typing import Any

from kfp.dsl import Metrics, Output

from components.step import component


@component
def train(
    feed: str,
    run_id: str,
    split: str,
    candidates: str,
    images: dict[str, Any],
    instance_type: str,
    max_seconds: int,
    poll_seconds: float,
    metrics: Output[Metrics],
) -> str:
    """Returns the address of what was trained: job, image and model data by algorithm, and why others failed."""
    from components.algorithms import EMPIRICAL, candidates_of
    from components.run import open_run, read_json, write_json
    from components.train.train import Settings, train

    run = open_run(feed, run_id)
    algorithms = (*candidates_of(run.names, candidates), EMPIRICAL)
    settings = Settings(instance_type, images, max_seconds, poll_seconds)
    trained = train(run, algorithms, read_json(split)["empirical_hours"], settings)
    for name, model in trained.models.items():
        metrics.log_metric(f"{name} seconds", model.seconds)
    return write_json(run.uri("trained.json"), trained.to_json())
