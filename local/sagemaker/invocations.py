"""InvokeEndpoint: a request to a variant of an endpoint, and its answer."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import urllib3

from local.sagemaker.capture import Capture, Message, capture_record, is_sampled
from local.sagemaker.context import Context
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.errors import ServiceError
from local.sagemaker.registry import Json, operation
from local.sagemaker.serving import Invocation
from local.sagemaker.shadows import Shadows
from local.sagemaker.traffic import Fleet, NoVariant, Traffic, Variant
from loopcast import aws

_READY_SECONDS = 60.0
_HEADERS = {"ContentType": "Content-Type", "Accept": "Accept", "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes"}


class ValidationError(ServiceError):
    code = "ValidationError"
    status = 400


class ModelError(ServiceError):
    code = "ModelError"
    status = 424


@operation("InvokeEndpoint", service="sagemaker-runtime")
def invoke_endpoint(context: Context, request: Json) -> Json:
    endpoint = request["EndpointName"]
    for name in ("InferenceComponentName", "TargetModel", "TargetContainerHostname"):
        if name in request:
            raise ValidationError(f"Endpoint {endpoint} has one model a variant: {name} can't be given.")
    traffic = _traffic(context, endpoint)
    try:
        with traffic.take(request.get("TargetVariant")) as taken:
            for shadow in taken.shadows:
                _copy(context, traffic, taken.fleet, shadow, request)
            answer = _invoke(endpoint, taken.variant, request)
    except NoVariant as error:
        raise ValidationError(str(error)) from error
    _capture(context, endpoint, taken.fleet, taken.variant, request, answer)
    attributes = answer.headers.get("x-amzn-sagemaker-custom-attributes")
    return {
        "Body": answer.body,
        "ContentType": _content_type(answer),
        "InvokedProductionVariant": taken.variant.name,
        **({"CustomAttributes": attributes} if attributes else {}),
    }


def _copy(context: Context, traffic: Traffic, fleet: Fleet, shadow: Variant, request: Json) -> None:
    """Asks the shadow as well, beside the request: nobody waits for its answer, which is only captured."""

    def ask() -> None:
        try:
            answer = _invoke(traffic.endpoint, shadow, request)
            _capture(context, traffic.endpoint, fleet, shadow, request, answer)
        finally:
            traffic.release(shadow)

    if not context.service(Shadows).run(ask):
        traffic.release(shadow)


def _traffic(context: Context, endpoint: str) -> Traffic:
    """The endpoint's programs. Right after a start of the server they may not be up again: then it waits for them."""
    found = context.service(Endpoints).traffic(endpoint)
    resource = context.store.get("endpoint", endpoint)
    if found is None or resource is None or not resource.notes.get("fleets"):
        raise ValidationError(f"Endpoint {endpoint} of account {aws.account()} not found.")
    if not found.ready.wait(_READY_SECONDS):
        raise ModelError(f"The programs of endpoint {endpoint} are not healthy.")
    return found


def _invoke(endpoint: str, variant: Variant, request: Json) -> Invocation:
    """Raises `ModelError` when the model does not answer with success."""
    headers = {header: request[name] for name, header in _HEADERS.items() if name in request}
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    try:
        answer = variant.server.invoke(request.get("Body", b""), headers)
    except urllib3.exceptions.HTTPError as error:
        raise _model_error(0, f"no answer: {error}", group) from error
    if not 200 <= answer.status < 300:
        raise _model_error(answer.status, answer.body.decode(errors="replace"), group)
    return answer


def _model_error(status: int, said: str, group: str) -> ModelError:
    whose = "client" if 400 <= status < 500 else "server"
    return ModelError(
        f'Received {whose} error ({status}) from primary with message "{said[:1000]}". '
        f"See the log group {group} in account {aws.account()} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=said[:1000],
        LogStreamArn=f"arn:aws:logs:{aws.region()}:{aws.account()}:log-group:{group}",
    )


def _content_type(answer: Invocation) -> str:
    return answer.headers.get("content-type", "application/octet-stream")


def _capture(
    context: Context, endpoint: str, fleet: Fleet, variant: Variant, request: Json, answer: Invocation
) -> None:
    config = fleet.capture
    if config is None or not is_sampled(config):
        return
    event = {
        "eventId": str(uuid.uuid4()),
        **({"inferenceId": request["InferenceId"]} if "InferenceId" in request else {}),
        **({"customAttributes": [request["CustomAttributes"]]} if "CustomAttributes" in request else {}),
        "inferenceTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    asked = Message(request.get("ContentType", "application/octet-stream"), request.get("Body", b""))
    record = capture_record(config, asked, Message(_content_type(answer), answer.body), event)
    context.service(Capture).keep(config, endpoint, variant.name, record)
