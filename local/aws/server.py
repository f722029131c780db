"""ministack's ASGI application, served on one socket, with our Kinesis, Firehose, alarms and auto scaling in it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import prometheus_client
from hypercorn.asyncio import serve as serve_asgi
from hypercorn.config import Config
from ministack import app as ministack
from ministack.core import persistence

from local.aws import athena, eventbridge, metrics
from local.aws.alarms import Alarms
from local.aws.firehose import Firehose
from local.aws.kinesis import Kinesis
from local.aws.record_log import RecordLog
from local.aws.scaling import Scaling
from local.aws.services import Services
from local.aws.snapshots import Snapshots
from loopcast.clock import Clock

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_EXPIRY_INTERVAL = 60.0
_SETTLE = 1.0
_CHANGES_RESOURCES = re.compile("(Create|Delete|Update|Put)(?!Item|Message|Record|Events|MetricData|LogEvents)")
_OWN_PATHS: Mapping[str, Callable[[], bytes]] = {
    "/healthz": lambda: b"ok\n",
    "/readyz": lambda: b"ok\n",
    "/metrics": prometheus_client.generate_latest,
}


async def serve(listener: socket.socket, state: Path, snapshot_interval: float, clock: Clock) -> None:
    """Serves AWS on `listener` until SIGTERM or SIGINT, with its state in the folder `state`.

    A snapshot is written every `snapshot_interval` seconds, soon after a resource was made or changed, and at the end.
    """
    snapshots = Snapshots(state / "snapshots")
    persistence.STATE_DIR = str(snapshots.newest())
    ministack.save_all = snapshots.write_last
    changed = asyncio.Event()
    stop = _stop_signal()
    async with (
        _our_services(state, clock, changed) as services,
        _running(_keep(services, snapshots, changed, snapshot_interval)),
    ):
        await serve_asgi(_watched(ministack.app, changed), _hypercorn(listener), shutdown_trigger=stop.wait)


@contextlib.asynccontextmanager
async def _our_services(state: Path, clock: Clock, changed: asyncio.Event) -> AsyncIterator[Services]:
    athena.install()
    eventbridge.install()
    metrics.install()
    Scaling(state / "scaling.json").install()
    services = Services()
    records = RecordLog(state / "records.sqlite")
    kinesis = Kinesis(services.kinesis, records)
    services.kinesis.handle_request = kinesis.handle_request
    firehose = Firehose(services, records, clock)
    firehose.start()
    alarms = Alarms(services, changed.set)
    try:
        async with _running(_expire_regularly(kinesis)), _running(alarms.run()):
            yield services
    finally:
        await asyncio.to_thread(firehose.stop)
        records.close()


@contextlib.asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    """Runs the coroutine `work` meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _expire_regularly(kinesis: Kinesis) -> None:
    while True:
        await asyncio.sleep(_EXPIRY_INTERVAL)
        await asyncio.to_thread(kinesis.expire)


async def _keep(services: Services, snapshots: Snapshots, changed: asyncio.Event, interval: float) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), interval)
            await asyncio.sleep(_SETTLE)
        changed.clear()
        await snapshots.write_in_child(services.states())


def _hypercorn(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    return config


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _watched(application: Application, changed: asyncio.Event) -> Application:
    """`application`, which answers health checks too and sets `changed` after a request that changes resources."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        own = _OWN_PATHS.get(scope["path"]) if scope["type"] == "http" else None
        if own is not None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": own()})
            return
        await application(scope, receive, send)
        if scope["type"] == "http" and changes_resources(scope):
            changed.set()

    return answer


def changes_resources(scope: Message) -> bool:
    """Whether the request makes, changes or deletes a resource, rather than data in one."""
    headers = dict(scope["headers"])
    path = scope["path"].strip("/")
    operation = headers[b"x-amz-target"].rpartition(b".")[2].decode() if b"x-amz-target" in headers else ""
    if "/operation/" in path:
        operation = path.rpartition("/")[2]
    if operation:
        return _CHANGES_RESOURCES.match(operation) is not None
    # What a form asks for (IAM speaks so) is in its body; and S3's buckets are paths of one part.
    is_form = headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded")
    return is_form or (scope["method"] in ("PUT", "DELETE") and "/" not in path)
