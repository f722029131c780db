"""`python -m local.aws`: S3, DynamoDB, SQS, EventBridge, Kinesis, Firehose, SSM, CloudWatch, Glue, Athena and IAM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from local.aws.server import Settings, serve


def main() -> None:
    arguments = _parser().parse_args()
    _log_as_json()
    try:
        listener = _listen(arguments.port)
    except OSError as error:
        place = f"127.0.0.1:{arguments.port}"
        sys.exit(f"can't listen on {place} ({error.strerror}): stop what uses that port, or give another with --port")
    settings = Settings(arguments.state.resolve(), arguments.snapshot_interval)
    asyncio.run(serve(listener, settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=4566, help="listens on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="keeps everything in this folder")
    parser.add_argument(
        "--snapshot-interval",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how often what isn't stored at once is written to the folder (default: %(default)s)",
    )
    return parser


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    return listener


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    main()
