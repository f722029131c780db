"""Step: judge the models on the held-out windows beside the baselines, and draw the report."""

from typing import Any

from kfp.dsl import HTML, Metrics, Output

from components.step import component


@component
def evaluate(
    feed: str,
    run_id: str,
    history: str,
    split: str,
    trained: str,
    backtested: dict[str, Any],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> str:
    """Returns the evaluation's address, runs/<run-id>/evaluation.json."""
    from pathlib import Path

    from components.algorithms import require_models
    from components.evaluate.evaluate import evaluate, predictions_of
    from components.evaluate.report import render
    from components.history import History
    from components.run import open_run, read, read_json, write, write_json
    from components.windows import Split

    run = open_run(feed, run_id)
    series, windows = History.from_json(read_json(history)), Split.from_json(read_json(split))
    texts = {role: read(uri) for role, uri in backtested["predictions"].items()}
    models, unsound = predictions_of(texts, windows, run.feed.forecast.quantiles)
    failed = {**read_json(trained)["failed"], **backtested["failed"], **unsound}
    require_models(models, failed)
    evaluation = {"run_id": run_id, "failed": failed, **evaluate(run.feed, series, windows, models)}
    for name, score in evaluation["scores"].items():
        if score["loss"] is not None:
            metrics.log_metric(f"loss of {name}", score["loss"])
    page = render(run.feed, series, evaluation)
    Path(report.path).write_text(page, encoding="utf-8")
    write(run.uri("report.html"), page, "text/html")
    return write_json(run.uri("evaluation.json"), evaluation)
