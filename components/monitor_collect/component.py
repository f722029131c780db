"""Step: ask the stage's endpoint for the windows that have closed, and write forecasts and ground truth."""

from components.step import component


@component
def collect_predictions(feed: str, run_id: str, stage: str) -> str:
    """Returns the address of what was collected; a run started again adopts what it collected before."""
    from components.monitor.state import read_or_none
    from components.monitor_collect.collect import collect
    from components.run import open_run, write_json
    from loopcast.clock import clock_from_environment

    run = open_run(feed, run_id)
    address = run.uri("monitor", stage, "collected.json")
    if read_or_none(address) is None:
        collected = collect(run, stage, clock_from_environment())
        if isinstance(collected, str):
            return write_json(run.uri("monitor", stage, "nothing.json"), {"message": collected})
        write_json(address, collected.to_json())
    return address
