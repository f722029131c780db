"""InvokeEndpoint: a request to a variant of an endpoint, and its answer."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import urllib3

from local.sagemaker.capture import Capture, Message, capture_record, is_sampled
from local.sagemaker.context import Context
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.errors import ServiceError
from local.sagemaker.fleet import Fleet, NoVariant, Variant
from local.sagemaker.registry import Json, operation
from local.sagemaker.serving import Invocation
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
    fleet = _fleet(context, endpoint)
    try:
        with fleet.take(request.get("TargetVariant")) as variant:
            answer = _invoke(endpoint, variant, request)
    except NoVariant as error:
        raise ValidationError(str(error)) from error
    content_type = answer.headers.get("content-type", "application/octet-stream")
    _capture(context, fleet, variant, request, Message(content_type, answer.body))
    attributes = answer.headers.get("x-amzn-sagemaker-custom-attributes")
    return {
        "Body": answer.body,
        "ContentType": content_type,
        "InvokedProductionVariant": variant.name,
        **({"CustomAttributes": attributes} if attributes else {}),
    }


def _fleet(context: Context, endpoint: str) -> Fleet:
    """The endpoint's programs. Right after a start of the server they may not be up again: then it waits for them."""
    found = context.service(Endpoints).fleet(endpoint)
    resource = context.store.get("endpoint", endpoint)
    if found is None or resource is None or "served" not in resource.notes:
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


def _capture(context: Context, fleet: Fleet, variant: Variant, request: Json, answer: Message) -> None:
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
    record = capture_record(config, asked, answer, event)
    context.service(Capture).keep(config, fleet.endpoint, variant.name, record)
