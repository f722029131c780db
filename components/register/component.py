"""Step: register the models of this run; where the champion stays, give it a threshold of the newest windows."""

from typing import Any

from components.step import component


@component
def register(
    feed: str, run_id: str, trained: str, evaluation: str, verdict: str, performance: dict[str, Any], commit: str
) -> str:
    """Returns the address of the run's result, runs/<run-id>/result.json."""
    from components.register.register import register
    from components.register.result import result
    from components.run import open_run, read_json, write_json
    from components.write_threshold.write_threshold import renew_threshold

    run = open_run(feed, run_id)
    judged = read_json(evaluation)
    decided = read_json(verdict)
    packages = register(run, read_json(trained)["models"], judged, decided, performance, commit)
    found = result(judged, decided, packages)
    return write_json(run.uri("result.json"), found | {"threshold": renew_threshold(run.names, judged, found)})
