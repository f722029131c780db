"""Puts a model behind the endpoint of a stage without downtime: all at once, or a canary first."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.deploy_endpoint import memory, scaling
from components.deploy_endpoint.endpoint import NotServed, Waiting, await_config, delete, point, settled
from components.deploy_endpoint.guardrails import Guardrails, states
from components.deploy_endpoint.memory import config_name
from components.jobs import short_name
from components.models import create_model, describe_endpoint, tags
from components.roll_back.roll_back import reject, take_back
from components.run import Refused
from loopcast import aws
from loopcast.names import Names

_log = logging.getLogger(__name__)


def package_model(names: Names, package: Mapping[str, Any]) -> str:
    """The name of the model made of a described package, the same for each stage; made when absent."""
    arn = package["ModelPackageArn"]
    digest = hashlib.sha256(f"{arn} {package['CreationTime'].isoformat()}".encode()).hexdigest()[:8]
    name = short_name(names.prefix, f"-v{package['ModelPackageVersion']}-{digest}")
    return create_model(names, name, {"ModelPackageName": arn})


def deploy(
    names: Names,
    stage: str,
    model: str,
    run_id: str,
    instance_type: str,
    waiting: Waiting,
    guardrails: Guardrails | None = None,
    instance_count: int = 1,
) -> None:
    """Makes the stage's endpoint serve `model`, and waits until it does; `guardrails` hold for an update.

    Nothing changes when it serves the model on such instances already. Raises `Refused` when it does not come
    into service, an alarm takes it back, or its answers are unsound: an update that fails leaves the endpoint as it
    was, a creation that fails leaves none. A run whose model was taken back does not try again. What serves then scales
    within the stage's bounds.
    """
    rails, endpoint, config = guardrails or Guardrails(), names.endpoint(stage), config_name(names, stage, run_id)
    faults, waiting = Faults(rails), replace(waiting, poll_seconds=rails.poll(waiting.poll_seconds))
    scaling.bounds(names, stage)  # refused before anything is done
    found = settled(endpoint, waiting, faults.look)  # an earlier attempt's deployment may still bake
    if found is not None and found["EndpointStatus"] == "Failed":
        delete(endpoint, waiting)  # it can't be updated, and has never served
        found = None
    variant = _variant(model, instance_type, instance_count)
    if found is not None and found["EndpointConfigName"] != config and _serves(found["EndpointConfigName"], variant):
        _log.info("%s serves %s already", endpoint, model)
        scaling.scale(names, stage)
        return
    _prepare(names, stage, variant, run_id, found)
    point(endpoint, config, rails.deployment(waiting.limit_seconds) if found is not None else None)
    try:
        await_config(endpoint, config, waiting, faults.look)
    except NotServed as error:
        if describe_endpoint(endpoint) is not None:
            _remember_failure(config, stage, str(error), is_model_s=bool(faults.found or _breached(rails)))
            _scale_again(names, stage)
        raise NotServed(" ".join([str(error), *faults.sentences])) from error
    if faults.found:
        done = take_back(names, stage, run_id, " ".join(faults.sentences), waiting)
        raise Refused(f"{' '.join(faults.sentences)} So {done}.")
    scaling.scale(names, stage)


def _scale_again(names: Names, stage: str) -> None:
    """Scales what serves as before, on instances as it had: of more weight is why the update failed."""
    try:
        scaling.scale(names, stage)
    except (BotoCoreError, ClientError) as error:
        _log.warning("%s is not scaled: %s", names.endpoint(stage), error)


class Faults:
    """What is wrong with the answers of an endpoint while it bakes; it is asked until the canary has probably answered,
    and once when all traffic has shifted."""

    def __init__(self, guardrails: Guardrails) -> None:
        self.found: list[str] = []
        self._guardrails = guardrails
        self._seen: set[object] = set()

    @property
    def sentences(self) -> list[str]:
        return [f"While it baked, its forecasts were unsound: {' and '.join(self.found)}."] if self.found else []

    def look(self, described: Mapping[str, Any]) -> None:
        """Asks the endpoint when its new variants have begun to bake since the last look."""
        variants = described.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
        began = {
            status.get("StartTime")
            for variant in variants
            for status in variant.get("VariantStatus", [])
            if status["Status"] == "Baking"
        }
        if began - self._seen:
            self.found += self._guardrails.check(1 if self._seen else self._guardrails.asks)
            self._seen |= began


def _variant(model: str, instance_type: str, instance_count: int) -> dict[str, Any]:
    return {
        "VariantName": scaling.VARIANT,
        "ModelName": model,
        "InstanceType": instance_type,
        "InitialInstanceCount": instance_count,
        "InitialVariantWeight": 1.0,
    }


def _serves(config: str, variant: Mapping[str, Any]) -> bool:
    described = memory.describe_config(config)
    variants = described["ProductionVariants"] if described else []
    return [{key: item.get(key) for key in variant} for item in variants] == [variant]


def _prepare(
    names: Names, stage: str, variant: Mapping[str, Any], run_id: str, endpoint: Mapping[str, Any] | None
) -> None:
    """Makes the run's configuration unless it is there. Raises `Refused` when it was for another model, or has been
    taken back."""
    name = config_name(names, stage, run_id)
    config = memory.describe_config(name)
    if config is None:
        previous = memory.unshadowed(endpoint["EndpointConfigName"]) if endpoint else ""
        _create_config(names, name, variant, [*tags(names, run=run_id), *memory.remember(names, stage, previous)])
        return
    if not _serves(name, variant):
        raise Refused(f"The run {run_id} was for another model or other instances: deploy under another run's id.")
    reason = memory.recall(config).rolled_back or _taken_back(name, config, endpoint)
    if reason:
        _remember_failure(name, stage, reason, is_model_s=False)
        raise Refused(f"The run {run_id} was rolled back: {reason.rstrip('.')}. Deploy under another run's id.")


def _taken_back(name: str, config: Mapping[str, Any], endpoint: Mapping[str, Any] | None) -> str:
    """Why an earlier attempt, which did not come to remember it, failed to bring `config` into service."""
    if endpoint is None or endpoint["EndpointConfigName"] == name:
        return ""
    since = endpoint["LastModifiedTime"] > config["CreationTime"]
    return str(endpoint.get("FailureReason", "")) if since else ""


def _remember_failure(config: str, stage: str, reason: str, *, is_model_s: bool) -> None:
    """Makes the configuration remember its failure, and rejects the model package when the failure is the model's."""
    described = memory.describe_config(config)
    if described is None:
        return
    memory.mark_rolled_back(described, reason)
    if is_model_s or "alarm" in reason.lower():
        reject(described, f"rolled back from {stage}: {reason}")


def _breached(guardrails: Guardrails) -> bool:
    return "ALARM" in states(guardrails.alarms).values()


def _create_config(names: Names, name: str, variant: Mapping[str, Any], known: list[dict[str, str]]) -> None:
    aws.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        DataCaptureConfig=capture(names),
        Tags=known,
    )


def capture(names: Names) -> dict[str, Any]:
    """The DataCaptureConfig of every endpoint: all requests and answers, as text."""
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": names.s3(names.capture_prefix).rstrip("/"),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
