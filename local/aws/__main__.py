"""`python -m local.aws`: S3, DynamoDB, SQS, EventBridge, Kinesis, Firehose, SSM, CloudWatch, Glue, Athena and IAM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from loopcast.aws import region
from loopcast.clock import clock_from_environment

ACCOUNT = "000000000000"


def main() -> None:
    arguments = _parser().parse_args()
    _log_as_json()
    listener = _listen(arguments.host, arguments.port)
    state = arguments.state.resolve()
    os.environ |= _ministack_settings(listener.getsockname()[1], state)
    # ministack reads its settings when it is imported.
    from local.aws.server import serve

    asyncio.run(serve(listener, state, arguments.snapshot_interval, clock_from_environment()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.aws",
        description=__doc__,
        epilog="LOOPCAST_SPEED divides Firehose's buffering interval, so that the archive keeps up with a speed-up.",
    )
    parser.add_argument("--port", type=int, default=4566, help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="keeps everything in this folder")
    parser.add_argument(
        "--snapshot-interval",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how often what isn't stored at once is written to the folder (default: %(default)s)",
    )
    return parser


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        place = f"{host}:{port}"
        sys.exit(f"can't listen on {place} ({error.strerror}): stop what uses that port, or give another with --port")
    return listener


def _ministack_settings(port: int, state: Path) -> dict[str, str]:
    objects = state / "s3"
    objects.mkdir(parents=True, exist_ok=True)
    return {
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": region(),
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(objects),
        "LOG_LEVEL": "WARNING",
        # Listeners on other ports, which nothing of ours uses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    # ministack tells of every request at INFO.
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("local").setLevel(logging.INFO)


if __name__ == "__main__":
    main()
