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
from local.sagemaker.places import Machine, Place
from local.sagemaker.server import application
from local.sagemaker.store import Store

DEFAULT_IMAGES = Path(__file__).parent / "images.yaml"


def main() -> None:
    arguments = _parser().parse_args()
    _log_as_json()
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        place = f"{arguments.host}:{arguments.port}"
        sys.exit(f"can't listen on {place} ({error.strerror}): stop what uses that port, or give another with --port")
    state = arguments.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    settings = Settings(state, arguments.images.resolve(), arguments.step_seconds, arguments.grace_seconds)
    context = Context(settings, Store(state / "sagemaker.db"), _place(arguments, state))
    config = uvicorn.Config(
        application(context), log_config=None, access_log=False, timeout_keep_alive=75, timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run([listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker", description=__doc__)
    parser.add_argument("--port", type=int, default=4567, help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="keeps everything in this folder")
    parser.add_argument(
        "--images",
        type=Path,
        default=DEFAULT_IMAGES,
        metavar="FILE",
        help="which image URI stands for which program, or container (default: images.yaml beside this program)",
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
    _add_cluster(parser.add_argument_group("programs in pods"))
    return parser


def _add_cluster(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    choices = ("processes", "kubernetes")
    add("--programs", choices=choices, default="processes", help="what programs run as (default: %(default)s)")
    add("--namespace", metavar="NAME", help="where their pods run (default: that of this pod)")
    add("--work-url", metavar="URL", help="where pods reach this server, which hands them their files")
    add("--pods", type=Path, metavar="FILE", help="how pods are made: images, resources, where they may run (YAML)")
    add("--server-name", default="sagemaker", metavar="NAME", help="tells one server's pods from another's")
    add("--owner", metavar="KIND/NAME", help="the StatefulSet or Deployment that takes its pods along when deleted")


def _place(arguments: argparse.Namespace, state: Path) -> Place:
    """Where programs run. Exits with a sentence when that can't be had."""
    if arguments.programs == "processes":
        return Machine(state)
    if not arguments.work_url or not arguments.pods:
        sys.exit("--programs kubernetes needs --work-url and --pods")
    from local.sagemaker.kubernetes.client import ApiError, connect
    from local.sagemaker.kubernetes.cluster import Cluster
    from local.sagemaker.kubernetes.settings import BadSettings, read_settings

    try:
        settings = read_settings(arguments.pods)
        api = connect(arguments.namespace)
        return Cluster(api, state, settings, arguments.server_name, arguments.work_url, arguments.owner)
    except (ApiError, BadSettings) as error:
        sys.exit(str(error))


def _listen(host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY, without which every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
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
