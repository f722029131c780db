"""Makes a model of each training job, and finds the model in production."""

from __future__ import annotations

from collections.abc import Mapping

from components.models import create_model, served_model
from components.run import Run
from components.train.train import CANDIDATE, EMPIRICAL

ROLES = {"candidate": CANDIDATE, "empirical": EMPIRICAL}


def create_models(run: Run, trained: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Model names by role. A model bears its training job's name."""
    models = {role: _model(run, trained[algorithm]) for role, algorithm in ROLES.items()}
    production = served_model(run.names, "production")
    return models | ({"production": production} if production else {})


def _model(run: Run, trained: Mapping[str, str]) -> str:
    container = {"Image": trained["image"], "ModelDataUrl": trained["model_data"]}
    return create_model(run.names, trained["job"], container)
