"""What an endpoint configuration remembers, in its tags: what the stage served before it, with which threshold, and
why it was rolled back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components import parameters
from components.jobs import absent_is_none, short_name
from loopcast import aws
from loopcast.names import Names

_PREVIOUS = "loopcast:previous-config"
_THRESHOLD = "loopcast:previous-threshold"
_ROLLED_BACK = "loopcast:rolled-back"
_LONGEST = 256
_UNSAFE = re.compile(r"[^\w\s.:/=+@-]")  # what a tag may not hold


@dataclass(frozen=True)
class Memory:
    """`previous` is the configuration that the stage served before, `threshold` the one in SSM then, as text;
    `rolled_back` says why it was taken back. Each '' where there is none."""

    previous: str = ""
    threshold: str = ""
    rolled_back: str = ""


def config_name(names: Names, stage: str, run_id: str) -> str:
    """The configuration that the run `run_id` makes for the stage."""
    return short_name(f"{names.endpoint(stage)}-{run_id}")


def describe_config(name: str) -> dict[str, Any] | None:
    """What DescribeEndpointConfig answers; None when there is no such configuration."""
    sagemaker = aws.client("sagemaker")
    found: dict[str, Any] | None = absent_is_none(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name))
    return found


def unshadowed(name: str) -> str:
    """The configuration itself, or where it is one with a shadow, which a broken run left, the one it was made of."""
    config = describe_config(name)
    if config is None or not config.get("ShadowProductionVariants"):
        return name
    return recall(config).previous or name


def remember(names: Names, stage: str, previous: str) -> list[dict[str, str]]:
    """The tags of a new configuration that takes the place of `previous`."""
    if not previous:
        return []
    known = {_PREVIOUS: previous, _THRESHOLD: parameters.text(names, "thresholds", stage) or ""}
    return [{"Key": key, "Value": value} for key, value in known.items() if value]


def recall(config: Mapping[str, Any]) -> Memory:
    """What the described configuration remembers."""
    tags = aws.client("sagemaker").list_tags(ResourceArn=config["EndpointConfigArn"])["Tags"]
    found = {tag["Key"]: str(tag["Value"]) for tag in tags}
    return Memory(found.get(_PREVIOUS, ""), found.get(_THRESHOLD, ""), found.get(_ROLLED_BACK, ""))


def mark_rolled_back(config: Mapping[str, Any], reason: str) -> None:
    """Makes the described configuration remember why it was taken back."""
    value = " ".join(_UNSAFE.sub(" ", reason).split())[:_LONGEST].strip()
    tags = [{"Key": _ROLLED_BACK, "Value": value or "yes"}]
    aws.client("sagemaker").add_tags(ResourceArn=config["EndpointConfigArn"], Tags=tags)


def restore_threshold(names: Names, stage: str, threshold: str) -> None:
    """Puts a remembered threshold back into SSM; '' leaves what is there."""
    if threshold:
        name = names.parameter("thresholds", stage)
        aws.client("ssm").put_parameter(Name=name, Value=threshold, Type="String", Overwrite=True)
