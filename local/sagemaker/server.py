"""The HTTP server: one port for all services; each request is found, checked, answered in a thread of a pool."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import anyio.to_thread
import prometheus_client
import starlette.requests
from prometheus_client import Histogram
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from local.sagemaker import protocol
from local.sagemaker.context import Context
from local.sagemaker.errors import NotImplementedHere, ServiceError
from local.sagemaker.registry import OPERATIONS

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]
THREADS = 100

log = logging.getLogger(__name__)
_SECONDS = Histogram("sagemaker_request_seconds", "Time to answer a request", ["service", "operation", "status"])


def application(context: Context) -> Starlette:
    """The ASGI application over `context`, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await run_in_threadpool(context.start)
        try:
            yield
        finally:
            await run_in_threadpool(context.stop)

    async def respond(request: starlette.requests.Request) -> Response:
        asked = protocol.Request(
            method=request.method,
            path=request.scope["raw_path"].decode("ascii"),
            query=parse_qsl(request.url.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
        )
        answer = await run_in_threadpool(_answer, context, asked)
        return Response(answer.body, answer.status, dict(answer.headers))

    routes = [
        Route("/healthz", _healthy),
        Route("/readyz", _healthy),
        Route("/metrics", _metrics),
        *context.place.routes(),
        Route("/{path:path}", respond, methods=METHODS),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _answer(context: Context, request: protocol.Request) -> protocol.Answer:
    started = time.perf_counter()
    service = name = "unknown"
    try:
        operation = protocol.find_operation(request)
        service, name = operation.service, operation.name
        answer = _perform(context, operation, request)
    except ServiceError as error:
        log.info("refused", extra={"operation": name, "code": error.code, "reason": str(error)})
        answer = protocol.error_answer(error)
    except Exception as error:
        log.exception("failed", extra={"operation": name})
        answer = protocol.error_answer(ServiceError(f"{name} failed: {error!r}"))
    _SECONDS.labels(service, name, answer.status).observe(time.perf_counter() - started)
    return answer


def _perform(context: Context, operation: protocol.Operation, request: protocol.Request) -> protocol.Answer:
    handler = OPERATIONS.get((operation.service, operation.name))
    if handler is None:
        known = ", ".join(sorted(name for service, name in OPERATIONS if service == operation.service))
        raise NotImplementedHere(
            f"{operation.name} of {operation.service} is not implemented by this local SageMaker, which knows: {known}"
        )
    return protocol.answer(operation, handler(context, protocol.parse(operation, request)))


async def _healthy(_: starlette.requests.Request) -> Response:
    return PlainTextResponse("ok\n")


async def _metrics(_: starlette.requests.Request) -> Response:
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)
