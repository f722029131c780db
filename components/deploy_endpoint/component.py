"""Step: put the model behind the stage's endpoint, with data capture, and wait until it serves."""

from components.step import component


@component
def deploy_endpoint(
    feed: str,
    run_id: str,
    model: str,
    stage: str,
    instance_type: str,
    instance_count: int,
    canary_percent: int,
    bake_seconds: float,
    alarms: str,
    max_seconds: int,
    poll_seconds: float,
) -> str:
    """Returns the endpoint's name."""
    import functools

    from components.check_endpoint.ask import unsound
    from components.deploy_endpoint.deploy_endpoint import deploy
    from components.deploy_endpoint.endpoint import Waiting
    from components.deploy_endpoint.guardrails import Guardrails, guarding
    from components.run import open_run
    from loopcast.clock import clock_from_environment

    run, clock = open_run(feed, run_id), clock_from_environment()
    rails, count = Guardrails(check=functools.partial(unsound, run, stage)), 1
    if stage == "production":  # in staging nobody waits for the answers
        count = instance_count
        watched = guarding(run.names, stage, alarms)
        rails = Guardrails(canary_percent, clock.wall(bake_seconds), watched, rails.check)
    waiting = Waiting(poll_seconds, max_seconds + rails.seconds, clock)
    deploy(run.names, stage, model, run_id, instance_type, waiting, rails, count)
    return str(run.names.endpoint(stage))
