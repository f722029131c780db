"""Step: ask the endpoint for a forecast from the newest history, and roll it back when the answer is unsound."""

from components.step import component


@component
def check_endpoint(feed: str, run_id: str, endpoint: str, stage: str, max_seconds: int, poll_seconds: float) -> str:
    """Returns the endpoint's name."""
    from components.check_endpoint.check_endpoint import faults
    from components.deploy_endpoint.deploy_endpoint import Waiting, roll_back
    from components.endpoint import invoke
    from components.read_features.read_features import read_newest
    from components.run import Refused, open_run
    from loopcast.clock import Clock

    run = open_run(feed, run_id)
    history = read_newest(run.feed, run.names)
    try:
        forecast = run.feed.forecast
        found = faults(invoke(run.feed, run.names, stage, history), forecast.steps, forecast.quantiles)
    except Exception as error:
        found = [f"it did not answer ({error})"]
    if found:
        done = roll_back(run.names, stage, run_id, Waiting(poll_seconds, max_seconds, Clock()))
        raise Refused(f"The prediction of {endpoint} is unsound: {' and '.join(found)}; {done}.")
    return endpoint
