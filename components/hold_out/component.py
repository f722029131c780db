"""Step: hold out the newest windows, and write the channels of the jobs under runs/<run-id>/."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def hold_out(feed: str, run_id: str, history: str, windows: int, stride: int, metrics: Output[Metrics]) -> str:
    """Returns the address of the split: origins, horizon, stride and the hours of the best empirical baseline."""
    from components.history import History
    from components.hold_out import hold_out as logic
    from components.run import open_run, read_json, write, write_json

    run = open_run(feed, run_id)
    series = History.from_json(read_json(history))
    forecast = run.feed.forecast
    split = logic.hold_out(series, forecast.steps, windows, stride)
    write(run.uri("train", "series.json"), logic.training_channel(series, split), "application/jsonlines")
    write(run.uri("test", "series.json"), logic.evaluation_channel(series, split), "application/jsonlines")
    write(run.uri("backtest", "windows.jsonl"), logic.transform_input(series, split), "application/jsonlines")
    metrics.log_metric("windows", len(split.origins))
    metrics.log_metric("stride in minutes", split.stride)
    metrics.log_metric("training minutes", split.first)
    hours = logic.best_hours(series, split, forecast.quantiles)
    return write_json(run.uri("split.json"), {**split.to_json(), "empirical_hours": hours})
