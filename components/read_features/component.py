"""Step: the history of the feed's metrics from the feature store, to runs/<run-id>/history.json."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def read_features(feed: str, run_id: str, lookback_days: int, metrics: Output[Metrics]) -> str:
    """Returns the history's address: the target's, and every metric beside it."""
    from datetime import timedelta

    from components.read_features.read_features import read_columns
    from components.run import open_run, write_json

    run = open_run(feed, run_id)
    columns = read_columns(run.feed, run.names, timedelta(days=lookback_days))
    history = columns.history(run.feed.forecast.target)
    metrics.log_metric("minutes", len(history))
    metrics.log_metric("missing minutes", len(history) - history.known)
    return write_json(run.uri("history.json"), {**columns.to_json(), **history.to_json()})
