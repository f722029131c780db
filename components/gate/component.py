"""Step: decide what has earned a place in the registry."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def gate(feed: str, run_id: str, evaluation: str, metrics: Output[Metrics]) -> str:
    """Returns the verdict's address, runs/<run-id>/verdict.json: what to register, in which state, and why."""
    from components.gate.gate import ceiling, decide, significance
    from components.run import open_run, read_json, write_json

    run = open_run(feed, run_id)
    verdict = decide(read_json(evaluation), ceiling(run.feed, run.names), significance(run.names))
    metrics.log_metric("passed", int(verdict["passed"]))
    return write_json(run.uri("verdict.json"), verdict)
