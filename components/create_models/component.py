"""Step: make models of what was trained, and find the one in production."""

from typing import Any

from components.step import component


@component
def create_models(feed: str, run_id: str, trained: str) -> dict[str, Any]:
    """Returns model names by role: candidate, empirical, and production where an endpoint serves one."""
    from components.create_models.create_models import create_models
    from components.run import open_run, read_json

    return create_models(open_run(feed, run_id), read_json(trained))
