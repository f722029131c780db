"""Step: the target's history from the feature store, to runs/<run-id>/history.json."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def read_features(feed: str, run_id: str, lookback_days: int, metrics: Output[Metrics]) -> str:
    """Returns the history's address."""
    from datetime import timedelta

    from components.read_features.read_features import read_history
    from components.run import open_run, write_json

    run = open_run(feed, run_id)
    history = read_history(run.feed, run.names, timedelta(days=lookback_days))
    metrics.log_metric("minutes", len(history))
    metrics.log_metric("missing minutes", len(history) - history.known)
    return write_json(run.uri("history.json"), history.to_json())
