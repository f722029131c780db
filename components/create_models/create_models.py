"""Makes a model of each training job, and finds the champion."""

from __future__ import annotations

from collections.abc import Mapping

from components.algorithms import CHAMPION_STAGES
from components.models import create_model, served_model
from components.run import Run
from loopcast.names import Names


def create_models(run: Run, trained: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Model names by role: the trained algorithms and the champion. A model bears its training job's name."""
    return {algorithm: _model(run, model) for algorithm, model in trained.items()} | champion(run.names)


def champion(names: Names) -> dict[str, str]:
    """The model in production by its stage, or where nothing is in production the one in staging; else none."""
    for stage in CHAMPION_STAGES:
        if model := served_model(names, stage):
            return {stage: model}
    return {}


def _model(run: Run, trained: Mapping[str, str]) -> str:
    container = {"Image": trained["image"], "ModelDataUrl": trained["model_data"]}
    return create_model(run.names, trained["job"], container)
