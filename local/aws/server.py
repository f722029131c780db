"""ministack's ASGI application, served on one socket, with our services in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.snapshots import Snapshots
from loopcast.aws import region

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

ACCOUNT = "000000000000"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Where the state lies, and how many seconds lie between two snapshots of it."""

    state: Path
    snapshot_interval: float


async def serve(listener: socket.socket, settings: Settings) -> None:
    """Serves AWS on `listener` until SIGTERM or SIGINT; then writes a last snapshot."""
    snapshots = Snapshots(settings.state / "snapshots")
    _configure_ministack(listener.getsockname()[1], settings.state, snapshots.newest())
    # Only now: ministack reads its environment when it is imported.
    from hypercorn.asyncio import serve as serve_asgi
    from hypercorn.config import Config
    from ministack import app as ministack

    ministack.save_all = snapshots.write
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    stop = _stop_signal()
    every = asyncio.create_task(_snapshot_regularly(snapshots, ministack, settings.snapshot_interval))
    try:
        await serve_asgi(_with_health(ministack.app), config, shutdown_trigger=stop.wait)
    finally:
        every.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await every


def _configure_ministack(port: int, state: Path, snapshot: Path) -> None:
    """Sets the variables that ministack takes its settings from."""
    objects = state / "s3"
    objects.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": region(),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(snapshot),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(objects),
        "LOG_LEVEL": "WARNING",
        # Listeners on other ports, which nothing of ours uses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    logging.getLogger("ministack").setLevel(logging.WARNING)


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _snapshot_regularly(snapshots: Snapshots, ministack: Any, interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        await snapshots.write_in_child(ministack._build_persistence_save_dict())


def _with_health(application: Application) -> Application:
    """`application`, and `/healthz` and `/readyz`, which answer once it has started."""

    async def answer(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in ("/healthz", "/readyz"):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"ok\n"})
        else:
            await application(scope, receive, send)

    return answer
