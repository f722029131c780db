"""Automatic scaling of a stage's endpoint, between bounds that the account's owner sets in SSM.

A variant can be registered only once its endpoint is there, and SageMaker refuses an update that gives a registered one
another type of instance. So what deploys is what registers: after the endpoint has come into service, and anew after an
update that it had to be taken back for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components import parameters
from components.run import Refused
from loopcast import aws
from loopcast.names import Names

VARIANT = "AllTraffic"
"""The name of every production variant: SageMaker shifts traffic, and keeps counts, between variants of one name."""

SETTINGS = ("min_instances", "max_instances", "invocations_per_minute")

_log = logging.getLogger(__name__)
_SERVICE = "sagemaker"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_POLICY = "invocations"


@dataclass(frozen=True)
class Bounds:
    """From `least` to `most` instances; so many that each has about `invocations` requests a minute."""

    least: int
    most: int
    invocations: float

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise Refused(f"scaling: min_instances ({self.least}) must be from 1 to max_instances ({self.most}).")
        if self.invocations <= 0:
            raise Refused(f"scaling: invocations_per_minute must be above 0, not {self.invocations:g}.")


def bounds(names: Names, stage: str) -> Bounds | None:
    """The stage's bounds, `/loopcast/<feed>/scaling/<stage>/...`; None where not all of them are set."""
    values = [parameters.number(names, "scaling", stage, setting) for setting in SETTINGS]
    least, most, invocations = values
    if least is None or most is None or invocations is None:
        return None
    if not (least.is_integer() and most.is_integer()):
        raise Refused(
            f"scaling: {names.parameter('scaling', stage, 'min_instances')} and max_instances "
            f"must be whole numbers, not {least:g} and {most:g}."
        )
    return Bounds(int(least), int(most), invocations)


def scale(names: Names, stage: str) -> None:
    """Makes the stage's endpoint, which is in service, scale within its bounds; leaves it alone where it has none."""
    found = bounds(names, stage)
    if found is None:
        return
    variant = _variant(names.endpoint(stage))
    scaling = aws.client("application-autoscaling")
    scaling.register_scalable_target(**variant, MinCapacity=found.least, MaxCapacity=found.most)
    scaling.put_scaling_policy(
        **variant,
        PolicyName=_POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": found.invocations,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )
    _log.info("%s scales from %d to %d instances", names.endpoint(stage), found.least, found.most)


def before_update(endpoint: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What an update from the configuration `old` to `new` (described) must ask for so that the endpoint keeps as many
    instances as it was scaled to; {} where it isn't scaled. Ends the scaling where the update would be refused."""
    if not is_scaled(endpoint):
        return {}
    if _types(old) != _types(new):
        release(endpoint)
    return {"RetainAllVariantProperties": True}


def is_scaled(endpoint: str) -> bool:
    """Whether the endpoint's variant is registered."""
    variant = _variant(endpoint)
    asked = {"ResourceIds": [variant.pop("ResourceId")], **variant}
    return bool(aws.client("application-autoscaling").describe_scalable_targets(**asked)["ScalableTargets"])


def release(endpoint: str) -> None:
    """Ends the endpoint's scaling, if it is scaled; its policies go with it."""
    if is_scaled(endpoint):
        aws.client("application-autoscaling").deregister_scalable_target(**_variant(endpoint))


def _variant(endpoint: str) -> dict[str, str]:
    resource = f"endpoint/{endpoint}/variant/{VARIANT}"
    return {"ServiceNamespace": _SERVICE, "ResourceId": resource, "ScalableDimension": _DIMENSION}


def _types(config: Mapping[str, Any]) -> list[str]:
    return [str(variant.get("InstanceType")) for variant in config["ProductionVariants"]]
