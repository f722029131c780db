"""Step: let SageMaker Model Monitor check the run's forecasts against the model's constraints."""

from components.step import component


@component
def check_constraints(
    feed: str,
    run_id: str,
    stage: str,
    result: str,
    image: str,
    instance_type: str,
    max_seconds: int,
    poll_seconds: float,
) -> str:
    """Adds what was found to the result at `result`, and returns its address."""
    from components.monitor_constraints.check import Settings, check
    from components.monitor_constraints.images import analyzer_image
    from components.run import open_run, read_json, write_json
    from loopcast import aws
    from loopcast.clock import Clock

    run, record = open_run(feed, run_id), read_json(result)
    settings = Settings(image or analyzer_image(aws.region()), instance_type, max_seconds, poll_seconds)
    return write_json(result, {**record, **check(run, stage, record, settings, Clock())})
