"""`python -m local.sagemaker`: sagemaker, sagemaker-runtime and sagemaker-featurestore-runtime on one port."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

import uvicorn
from pythonjsonlogger.json import JsonFormatter

from local.sagemaker import operations  # noqa: F401 - importing it registers every operation
from local.sagemaker.context import Context, Settings
from local.sagemaker.server import application
from local.sagemaker.store import Store

DEFAULT_IMAGES = Path(__file__).parent / "images.yaml"


def main() -> None:
    arguments = _parser().parse_args()
    _log_as_json()
    try:
        listener = _listen(arguments.port)
    except OSError as error:
        place = f"127.0.0.1:{arguments.port}"
        sys.exit(f"can't listen on {place} ({error.strerror}): stop what uses that port, or give another with --port")
    state = arguments.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    settings = Settings(state, arguments.images.resolve(), arguments.step_seconds, arguments.grace_seconds)
    context = Context(settings, Store(state / "sagemaker.db"))
    config = uvicorn.Config(
        application(context), log_config=None, access_log=False, timeout_keep_alive=75, timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run([listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker", description=__doc__)
    parser.add_argument("--port", type=int, default=4567, help="listens on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="keeps everything in this folder")
    parser.add_argument(
        "--images",
        type=Path,
        default=DEFAULT_IMAGES,
        metavar="FILE",
        help="which image URI stands for which program (default: images.yaml beside this program)",
    )
    parser.add_argument(
        "--step-seconds",
        type=float,
        default=Settings.step_seconds,
        metavar="SECONDS",
        help="the least time that a job or an endpoint spends in each of its states (default: %(default)s)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=Settings.grace_seconds,
        metavar="SECONDS",
        help="the time a stopped job has between SIGTERM and SIGKILL (default: %(default)s, as on AWS)",
    )
    return parser


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY, without which every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    return listener


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("uvicorn", "botocore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
