"""The command line of every forecaster: `train` and `serve`, as SageMaker starts an image."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from pythonjsonlogger.json import JsonFormatter

from forecasters.contract import ClientError, Folders, folders_from_environment, run_training
from forecasters.evaluation import Forecaster

STOPPED = 128 + signal.SIGTERM

logger = logging.getLogger(__name__)


def main(name: str, about: str, train: Callable[[Folders], None], load: Callable[[Path], Forecaster]) -> None:
    """Runs `python -m name train|serve`; `load` reads a model folder."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument(
        "command",
        choices=["train", "serve"],
        help="train a model from the job's channels, or answer requests on SAGEMAKER_BIND_TO_PORT (default: 8080); "
        "the folders are SageMaker's, under SAGEMAKER_BASE_DIR (default: /opt/ml)",
    )
    command = parser.parse_args().command
    _log_as_json()
    folders = folders_from_environment()
    if command == "train":
        _exit_on_sigterm(STOPPED)
        sys.exit(run_training(train, folders))
    _exit_on_sigterm(0)
    _serve(load, folders)


def _serve(load: Callable[[Path], Forecaster], folders: Folders) -> None:
    from forecasters.server import serve  # training needs no server

    try:
        serve(load(folders.model))
    except ClientError as error:
        logger.error("can't serve", extra={"reason": str(error)})
        sys.exit(1)


def _exit_on_sigterm(status: int) -> None:
    """As process 1 of a container a program without a handler would ignore the signal."""

    def stop(_: int, __: FrameType | None) -> None:
        sys.exit(status)

    signal.signal(signal.SIGTERM, stop)


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
