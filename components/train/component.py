"""Step: train the candidate and the empirical baseline."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def train(
    feed: str,
    run_id: str,
    split: str,
    instance_type: str,
    deepar_image: str,
    empirical_image: str,
    max_seconds: int,
    poll_seconds: float,
    metrics: Output[Metrics],
) -> str:
    """Returns the address of what was trained: job, image and model data by algorithm."""
    from components.run import open_run, read_json, write_json
    from components.train.train import Settings, train

    run = open_run(feed, run_id)
    settings = Settings(instance_type, deepar_image, empirical_image, max_seconds, poll_seconds)
    trained = train(run, read_json(split)["empirical_hours"], settings)
    for name, model in trained.items():
        metrics.log_metric(f"{name} seconds", model.seconds)
    return write_json(run.uri("trained.json"), {name: model.to_json() for name, model in trained.items()})
