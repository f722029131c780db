"""What the store keeps of an endpoint: its Describe document, and in its notes what is needed to go on with it.

The notes: `fleets` that get its requests, `wanted` the configuration that it is changing to, `deployment` the
DeploymentConfig of that change, when it `began`, the `step` that it has come to, and `until` when that lasts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from local.sagemaker.context import now
from local.sagemaker.plan import Plan, read_plan
from local.sagemaker.registry import Json
from local.sagemaker.resources import Kind
from local.sagemaker.store import Resource
from local.sagemaker.traffic import Fleet

KIND = Kind(
    arn="endpoint",
    prefix="Endpoint",
    missing='Could not find endpoint "{arn}".',
    taken='Cannot create already existing endpoint "{arn}".',
    newest_first=True,
)
_REASON = 1024
_PROGRESS = ("began", "step", "until")


def want(resource: Resource, config: Json, deployment: Json) -> None:
    """The endpoint is to change to `config` from now on."""
    for name in _PROGRESS:
        resource.notes.pop(name, None)
    resource.notes.update(wanted=config, deployment=deployment, began=now())
    if deployment:
        resource.document["LastDeploymentConfig"] = deployment
    pend(resource, "Creating", 0.0)


def plan_of(resource: Resource) -> Plan:
    """How the change under way is to shift the traffic."""
    return read_plan(resource.notes.get("deployment", {}), instances(resource.notes["wanted"]))


def instances(config: Json) -> int:
    """How many instances a configuration asks for."""
    return sum(variant["InitialInstanceCount"] for variant in config["ProductionVariants"])


def pend(resource: Resource, status: str, share: float) -> None:
    """Tells of the change under way: what its variants do, and the share of the traffic that they get."""
    config, since = resource.notes["wanted"], now()
    before = resource.document.get("PendingDeploymentSummary", {}).get("StartTime")
    summary = {
        "EndpointConfigName": config["EndpointConfigName"],
        "StartTime": before if before and status != "Creating" else since,
        **{kind: [_pending(v, status, share, since) for v in variants] for kind, variants in _variants(config)},
    }
    resource.document["PendingDeploymentSummary"] = summary


def note_fleets(resource: Resource, fleets: Sequence[Fleet]) -> None:
    resource.notes["fleets"] = [fleet.note() for fleet in fleets]


def serve(resource: Resource, fleet: Fleet) -> None:
    """The endpoint is in service with `fleet` alone."""
    note_fleets(resource, [fleet])
    if resource.document["EndpointStatus"] == "Deleting":
        return
    document, config = resource.document, fleet.config
    for name in ("FailureReason", "DataCaptureConfig", "PendingDeploymentSummary", "ShadowProductionVariants"):
        document.pop(name, None)
    document.update(
        EndpointConfigName=config["EndpointConfigName"],
        EndpointStatus="InService",
        LastModifiedTime=now(),
        **{kind: [_summary(variant) for variant in variants] for kind, variants in _variants(config)},
        **_capture_summary(fleet.capture),
    )


def roll_back(resource: Resource, reason: str) -> None:
    """The change has failed: the endpoint goes back to what it served, or fails where it served nothing."""
    _leave(resource, "RollingBack", FailureReason=reason[:_REASON])


def rolled_back(resource: Resource) -> None:
    """The endpoint serves again what it served before the change."""
    resource.notes["fleets"] = resource.notes.get("fleets", [])[:1]
    for fleet in resource.notes["fleets"]:
        fleet["share"] = 1.0
    _leave(resource, "InService")


def _leave(resource: Resource, status: str, **fields: str) -> None:
    resource.document.pop("PendingDeploymentSummary", None)
    if resource.document["EndpointStatus"] != "Deleting":
        status = status if resource.notes.get("fleets") else "Failed"
        resource.document.update(EndpointStatus=status, LastModifiedTime=now(), **fields)


def reweighed(config: Json, changes: dict[str, Json]) -> Json:
    """The configuration with other weights and counts, by the variants' names."""
    return {
        **config,
        **{
            kind: [{**variant, **_initial(changes.get(variant["VariantName"], {}))} for variant in variants]
            for kind, variants in _variants(config)
        },
    }


def weights(document: Json) -> dict[str, Json]:
    """The weights and counts that a described endpoint has, as changes for `reweighed`."""
    return {variant["VariantName"]: variant for variant in document.get("ProductionVariants", [])}


def _variants(config: Json) -> list[tuple[str, list[Json]]]:
    """The configuration's variants of both kinds, without a kind that it has none of."""
    kinds = ("ProductionVariants", "ShadowProductionVariants")
    return [(kind, config[kind]) for kind in kinds if config.get(kind)]


def _initial(change: Json) -> Json:
    names = {"DesiredWeight": "InitialVariantWeight", "DesiredInstanceCount": "InitialInstanceCount"}
    return {names[name]: value for name, value in change.items() if name in names}


def _summary(variant: Json) -> Json:
    """A ProductionVariantSummary."""
    weight, count = float(variant["InitialVariantWeight"]), variant["InitialInstanceCount"]
    return {
        "VariantName": variant["VariantName"],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": count,
        "DesiredInstanceCount": count,
    }


def _pending(variant: Json, status: str, share: float, since: float) -> Json:
    """A PendingProductionVariantSummary."""
    summary: Json = _summary(variant)
    summary["CurrentWeight"] *= share
    summary["CurrentInstanceCount"] = math.ceil(summary["DesiredInstanceCount"] * share)
    kind: dict[str, Any] = {"InstanceType": variant["InstanceType"]} if "InstanceType" in variant else {}
    return {**summary, **kind, "VariantStatus": [{"Status": status, "StartTime": since}]}


def _capture_summary(config: Json | None) -> Json:
    if config is None:
        return {}
    enabled = config.get("EnableCapture", True)
    summary = {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }
    return {"DataCaptureConfig": summary}
