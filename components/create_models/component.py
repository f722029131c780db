"""Step: make models of what was trained, and find the champion."""

from typing import Any

from components.step import component


@component
def create_models(feed: str, run_id: str, trained: str) -> dict[str, Any]:
    """Returns model names by role: the trained algorithms, and the stage that serves the champion if any does."""
    from components.create_models.create_models import create_models
    from components.run import open_run, read_json

    return create_models(open_run(feed, run_id), read_json(trained)["models"])
