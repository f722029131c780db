"""Step: backtest the candidate, the empirical baseline and the model in production on the same windows."""

from typing import Any

from components.step import component


@component
def backtest(
    feed: str, run_id: str, models: dict[str, Any], instance_type: str, max_seconds: int, poll_seconds: float
) -> dict[str, Any]:
    """Returns the addresses of the predictions by role."""
    from components.backtest.backtest import backtest
    from components.run import open_run

    return backtest(open_run(feed, run_id), models, instance_type, max_seconds, poll_seconds)
