"""Step: put the model behind the stage's endpoint, with data capture, and wait until it serves."""

from components.step import component


@component
def deploy_endpoint(
    feed: str, run_id: str, model: str, stage: str, instance_type: str, max_seconds: int, poll_seconds: float
) -> str:
    """Returns the endpoint's name."""
    from components.deploy_endpoint.deploy_endpoint import Waiting, deploy
    from components.run import open_run
    from loopcast.clock import Clock

    run = open_run(feed, run_id)
    deploy(run.names, stage, model, run_id, instance_type, Waiting(poll_seconds, max_seconds, Clock()))
    return str(run.names.endpoint(stage))
