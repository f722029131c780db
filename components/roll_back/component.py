"""Step: take the stage back to what it served before, endpoint and threshold."""

from components.step import component


@component
def roll_back(
    feed: str, run_id: str, stage: str, model_package_arn: str, reason: str, max_seconds: int, poll_seconds: float
) -> str:
    """Returns the address of what came of it, runs/<run-id>/<stage>-rollback.json."""
    from components.deploy_endpoint.endpoint import Waiting
    from components.roll_back.roll_back import roll_back
    from components.run import open_run, write_json
    from loopcast.clock import Clock

    run = open_run(feed, run_id)
    waiting = Waiting(poll_seconds, max_seconds, Clock())
    outcome = roll_back(run, stage, model_package_arn, reason, waiting)
    return write_json(run.uri(f"{stage}-rollback.json"), outcome)
