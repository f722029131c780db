"""Step: backtest every model of the run and the champion on the same windows."""

from typing import Any

from components.step import component


@component
def backtest(
    feed: str, run_id: str, models: dict[str, Any], instance_type: str, max_seconds: int, poll_seconds: float
) -> dict[str, Any]:
    """Returns the addresses of the predictions by role, and why others have none."""
    from components.backtest.backtest import backtest
    from components.run import open_run

    return backtest(open_run(feed, run_id), models, instance_type, max_seconds, poll_seconds)
