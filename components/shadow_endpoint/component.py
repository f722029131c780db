"""Step: let the model run in the shadow of the stage first, where that is asked for."""

from components.step import component


@component
def shadow_endpoint(
    feed: str,
    run_id: str,
    model: str,
    stage: str,
    instance_type: str,
    shadow_seconds: float,
    max_seconds: int,
    poll_seconds: float,
) -> str:
    """Returns the model's name."""
    if shadow_seconds:
        from components.deploy_endpoint.endpoint import Waiting
        from components.run import open_run
        from components.shadow_endpoint.shadow_endpoint import shadow
        from loopcast.clock import clock_from_environment

        waiting = Waiting(poll_seconds, max_seconds, clock_from_environment())
        print(shadow(open_run(feed, run_id), stage, model, instance_type, shadow_seconds, waiting))
    return model
