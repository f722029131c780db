"""Step: ask the endpoint for a forecast from the newest history, and roll it back when the answer is unsound."""

from components.step import component


@component
def check_endpoint(feed: str, run_id: str, endpoint: str, stage: str, max_seconds: int, poll_seconds: float) -> str:
    """Returns the endpoint's name."""
    from components.check_endpoint.ask import unsound
    from components.deploy_endpoint.endpoint import Waiting
    from components.roll_back.roll_back import take_back
    from components.run import Refused, open_run
    from loopcast.clock import Clock

    run = open_run(feed, run_id)
    found = unsound(run, stage)
    if found:
        reason = f"The prediction of {endpoint} is unsound: {' and '.join(found)}"
        done = take_back(run.names, stage, run_id, reason, Waiting(poll_seconds, max_seconds, Clock()))
        raise Refused(f"{reason}; {done}.")
    return endpoint
