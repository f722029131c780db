"""The HTTP side of the contract: GET /ping, POST /invocations.

application/json is a request with its configuration; application/jsonlines is a batch transform's, one instance a line,
with the configuration from the environment (DEEPAR_INFERENCE_CONFIG). A mistake in a request is a 400 with a sentence.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from threading import Lock

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecasters.contract import ClientError
from forecasters.evaluation import Forecaster
from forecasters.series import explain, series_from_instance
from loopcast.forecast import INFERENCE_CONFIG, Answer, Configuration, Instance, Prediction, Request

logger = logging.getLogger(__name__)

JSON = "application/json"
JSON_LINES = "application/jsonlines"


def serve(forecaster: Forecaster) -> None:
    """Serves until SIGTERM."""
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    app = application(forecaster, batch_configuration(os.environ))
    logger.info("serving", extra={"port": port})
    uvicorn.run(app, host="0.0.0.0", port=port, log_config=None, log_level="warning")  # noqa: S104 - as the contract says


def batch_configuration(environment: Mapping[str, str]) -> Configuration:
    """The configuration of a batch transform; raises `ClientError`."""
    try:
        return Configuration.model_validate_json(environment.get(INFERENCE_CONFIG, "{}"))
    except ValidationError as error:
        raise ClientError(f"{INFERENCE_CONFIG}: {explain(error)}") from error


def application(forecaster: Forecaster, batch: Configuration) -> Starlette:
    """The server; forecasts are made one at a time, since the seeded generators of the models are global."""
    one_at_a_time = Lock()

    def answer(body: bytes, content_type: str) -> Response:
        with one_at_a_time:
            if content_type == JSON_LINES:
                return Response(_answer_lines(forecaster, body, batch), media_type=JSON_LINES)
            return Response(_answer(forecaster, body), media_type=JSON)

    async def invoke(request: HttpRequest) -> Response:
        content_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if content_type not in (JSON, JSON_LINES):
            return PlainTextResponse(f"send {JSON} or {JSON_LINES}, not {content_type}", 415)
        try:
            return await run_in_threadpool(answer, await request.body(), content_type)
        except ValueError as error:
            return PlainTextResponse(explain(error), 400)

    return Starlette(routes=[Route("/ping", _ping), Route("/invocations", invoke, methods=["POST"])])


async def _ping(_: HttpRequest) -> Response:
    return Response()


def _answer(forecaster: Forecaster, body: bytes) -> str:
    request = Request.model_validate_json(body)
    predictions = [
        _predict(forecaster, instance, request.configuration, f"instance {number}")
        for number, instance in enumerate(request.instances)
    ]
    return Answer(predictions=predictions).model_dump_json(exclude_none=True)


def _answer_lines(forecaster: Forecaster, body: bytes, configuration: Configuration) -> str:
    lines = [(number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip()]
    predictions = [_predict_line(forecaster, number, line, configuration) for number, line in lines]
    return "".join(f"{prediction.model_dump_json(exclude_none=True)}\n" for prediction in predictions)


def _predict_line(forecaster: Forecaster, number: int, line: bytes, configuration: Configuration) -> Prediction:
    try:
        instance = Instance.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"line {number}: {explain(error)}") from error
    return _predict(forecaster, instance, configuration, f"line {number}")


def _predict(forecaster: Forecaster, instance: Instance, configuration: Configuration, place: str) -> Prediction:
    try:
        return forecaster.predict(series_from_instance(instance), configuration)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
