"""`python -m flink.probe`: exit code 0 when the job runs with all its tasks; else a sentence says what it does instead.

For a probe of the JobManager: it needs the standard library alone, so that it is cheap.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from typing import Any

_TIMEOUT = 4


def main() -> None:
    """Asks the JobManager on this machine whether the job runs with all its tasks; exit code 0 when it does."""
    parser = argparse.ArgumentParser(prog="python -m flink.probe", description=main.__doc__)
    parser.add_argument("--rest-port", type=int, default=8081, help="Flink's REST API (%(default)s)")
    arguments = parser.parse_args()
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{arguments.rest_port}/jobs/overview", timeout=_TIMEOUT
        ) as answer:
            problem = wrong(json.load(answer))
    except (OSError, ValueError) as error:
        problem = f"the JobManager doesn't answer: {error}"
    if problem:
        sys.exit(problem)


def wrong(overview: dict[str, list[dict[str, Any]]]) -> str | None:
    """Why the job doesn't run, from the REST API's overview; None when it does."""
    jobs = overview["jobs"]
    if not jobs:
        return "there is no job yet"
    job = jobs[0]
    if job["state"] != "RUNNING":
        return f"the job is {job['state']}"
    tasks = job["tasks"]
    return None if tasks["running"] == tasks["total"] else f"{tasks['running']} of {tasks['total']} tasks run"


if __name__ == "__main__":
    main()
