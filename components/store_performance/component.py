"""Step: store what the registry and the monitor read of each model, under runs/<run-id>/<role>/."""

from typing import Any

from components.step import component


@component
def store_performance(feed: str, run_id: str, evaluation: str, verdict: str) -> dict[str, Any]:
    """Returns the folder of statistics.json and constraints.json by role, for each model to be registered."""
    from components.run import open_run, read_json
    from components.store_performance.store_performance import store_performance

    run = open_run(feed, run_id)
    return store_performance(run, read_json(evaluation), read_json(verdict))
