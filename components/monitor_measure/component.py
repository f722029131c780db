"""Step: measure the forecasts and the data of the closed windows, and put the metrics."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def measure(feed: str, run_id: str, stage: str, collected: str, metrics: Output[Metrics]) -> str:
    """Returns the address of the run's result, runs/<run-id>/monitor/<stage>/result.json."""
    from datetime import UTC, datetime

    from components.monitor.collected import Closed
    from components.monitor_measure.measure import measure, nothing
    from components.run import open_run, read_json, write_json

    run, found = open_run(feed, run_id), read_json(collected)
    if "message" in found:
        result = nothing(run, stage, found["message"])
    else:
        result = measure(run, stage, Closed.from_json(found), datetime.now(UTC))
    for name in ("loss", "ratio", "baseline_loss", "coverage", "bias", "missing", "volume", "drift"):
        if result.get(name) is not None:
            metrics.log_metric(name, result[name])
    return write_json(run.uri("monitor", stage, "result.json"), result)
