"""SageMaker's container contract: where a job finds its input, and how it says that it failed.

The folders lie under /opt/ml, or under SAGEMAKER_BASE_DIR where that is set.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

logger = logging.getLogger(__name__)


class ClientError(Exception):
    """The user's mistake: it fails the job, and its text is what the user reads."""


@dataclass(frozen=True)
class Folders:
    """The folders of one job or endpoint."""

    base: Path

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def hyperparameters(self) -> Path:
        return self.base / "input" / "config" / "hyperparameters.json"

    @property
    def failure(self) -> Path:
        return self.base / "output" / "failure"

    def channel(self, name: str) -> Path:
        return self.base / "input" / "data" / name


def folders_from_environment() -> Folders:
    return Folders(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))


class Hyperparameters(BaseModel):
    """Base of a program's hyperparameters, which come as text; one it does not declare is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


H = TypeVar("H", bound=Hyperparameters)

OBJECTIVE = "_tuning_objective_metric"
"""The hyperparameter by which a tuning job names its objective to each training job."""


def read_hyperparameters(kind: type[H], folders: Folders) -> H:
    """The job's hyperparameters; raises `ClientError` that names each one that is missing, unknown or wrong.

    What a tuning job adds to tell which metric it looks at is no mistake for a program that does not ask for it.
    """
    try:
        given = json.loads(folders.hyperparameters.read_text())
    except FileNotFoundError:
        given = {}
    if not any(field.alias == OBJECTIVE for field in kind.model_fields.values()):
        given.pop(OBJECTIVE, None)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        causes = "\n".join(f"Caused by: {_cause(mistake)}" for mistake in error.errors())
        raise ClientError(
            "Unable to initialize the algorithm. Failed to validate hyperparameters. (caused by ValidationError)\n"
            f"{causes}"
        ) from error


def list_from_json(text: object) -> object:
    """What a hyperparameter that is a list says."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("it is a list, written as JSON") from None


def _cause(mistake: Mapping[str, object]) -> str:
    """One mistake in the words of the built-in algorithms, as far as they have words for it."""
    location = mistake["loc"]
    name = location[0] if isinstance(location, tuple) and location else "hyperparameters"
    if mistake["type"] == "missing":
        return f"'{name}' is a required property"
    if mistake["type"] == "extra_forbidden":
        return f"Additional properties are not allowed ('{name}' was unexpected)"
    return f"{mistake['input']!r} is not valid for {name}: {mistake['msg']}"


def run_training(train: Callable[[Folders], None], folders: Folders) -> int:
    """Trains; returns the exit status, and on a failure leaves its reason where SageMaker looks for it."""
    try:
        train(folders)
    except ClientError as error:
        return _fail(folders, f"ClientError: {error}")
    except Exception as error:
        logger.error("training broke", extra={"traceback": traceback.format_exc()})
        return _fail(folders, f"AlgorithmError: {type(error).__name__}: {error}")
    return 0


def _fail(folders: Folders, reason: str) -> int:
    logger.error("training failed", extra={"reason": reason})
    folders.failure.parent.mkdir(parents=True, exist_ok=True)
    folders.failure.write_text(reason)
    return 1
