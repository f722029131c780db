"""Step: store what the registry and the monitor read of each model, under runs/<run-id>/<role>/."""

from typing import Any

from components.step import component


@component
def store_performance(
    feed: str, run_id: str, history: str, split: str, evaluation: str, verdict: str
) -> dict[str, Any]:
    """Returns the folder of statistics.json, constraints.json and baseline.json by role, for each model to be
    registered."""
    from components.columns import Columns
    from components.run import open_run, read_json
    from components.store_performance.store_performance import store_performance
    from components.training_baseline import training_baseline
    from components.windows import Split

    run = open_run(feed, run_id)
    training = Columns.from_json(read_json(history)).until(Split.from_json(read_json(split)).first)
    return store_performance(run, read_json(evaluation), read_json(verdict), training_baseline(training))
