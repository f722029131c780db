"""An endpoint that is pointed at a configuration and waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from components.deploy_endpoint import scaling
from components.deploy_endpoint.memory import describe_config
from components.models import describe_endpoint
from components.run import Refused
from loopcast import aws
from loopcast.clock import Clock

_CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
Look = Callable[[Mapping[str, Any]], None]


class NotServed(Refused):
    """The endpoint did not come into service with its new configuration, and has settled."""


@dataclass(frozen=True)
class Waiting:
    """How long to wait for an endpoint, and how often to look, in seconds on the wall."""

    poll_seconds: float
    limit_seconds: float
    clock: Clock


def settled(endpoint: str, waiting: Waiting, look: Look = lambda _: None) -> dict[str, Any] | None:
    """The endpoint's description once it changes no more; None when there is none. `look` sees it while it changes."""
    deadline = waiting.clock.monotonic() + waiting.limit_seconds
    while True:
        described = describe_endpoint(endpoint)
        if described is None or described["EndpointStatus"] not in _CHANGING:
            return described
        look(described)
        if waiting.clock.monotonic() >= deadline:
            status = described["EndpointStatus"]
            raise Refused(f"{endpoint} is still {status} after {waiting.limit_seconds:.0f} s: start the step again.")
        waiting.clock.sleep(waiting.poll_seconds)


def point(endpoint: str, config: str, deployment: Mapping[str, Any] | None = None) -> None:
    """Makes the endpoint, which has settled, change to the configuration; made when it is absent."""
    sagemaker, described = aws.client("sagemaker"), describe_endpoint(endpoint)
    if described is None:
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    elif described["EndpointConfigName"] != config:
        how = {"DeploymentConfig": deployment} if deployment else {}
        old, new = describe_config(described["EndpointConfigName"]), describe_config(config)
        kept = scaling.before_update(endpoint, old, new) if old and new else {}
        sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **how, **kept)


def await_config(endpoint: str, config: str, waiting: Waiting, look: Look = lambda _: None) -> None:
    """Returns once the endpoint serves the configuration. Raises `NotServed` with the reason when it does not; one that
    has never served is deleted."""
    described = settled(endpoint, waiting, look) or {"EndpointStatus": "deleted"}
    status = described["EndpointStatus"]
    if status == "InService" and described["EndpointConfigName"] == config:
        return
    if status == "Failed":
        delete(endpoint, waiting)
    reason = str(described.get("FailureReason") or f"its status is {status}").rstrip(".")
    raise NotServed(f"The endpoint {endpoint} did not come into service with {config}: {reason}.")


def delete(endpoint: str, waiting: Waiting) -> None:
    """Deletes the endpoint if it is there, and its scaling."""
    scaling.release(endpoint)
    try:
        aws.client("sagemaker").delete_endpoint(EndpointName=endpoint)
    except ClientError:
        if describe_endpoint(endpoint) is not None:
            raise
    settled(endpoint, waiting)
