"""Refuses to deploy what has not earned its stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.jobs import absent_is_none
from components.models import served_package
from components.run import Refused
from loopcast import aws
from loopcast.names import Names

STAGES = ("staging", "production")


def approved_package(names: Names, arn: str, stage: str) -> dict[str, Any]:
    """The description of the model package `arn`.

    Raises `Refused` unless it is an approved package of the feed's group, and for production one that staging serves.
    """
    if stage not in STAGES:
        raise Refused(f"A stage is one of {' and '.join(STAGES)}, not {stage!r}.")
    package = absent_is_none(lambda: aws.client("sagemaker").describe_model_package(ModelPackageName=arn))
    if package is None:
        raise Refused(f"There is no model package {arn}.")
    _check(names, package)
    if stage == "production" and served_package(names, "staging") != arn:
        raise Refused(f"Production takes only what staging serves: deploy {arn} to staging first.")
    return dict(package)


def _check(names: Names, package: Mapping[str, Any]) -> None:
    arn, status = package["ModelPackageArn"], package.get("ModelApprovalStatus")
    if package.get("ModelPackageGroupName") != names.model_package_group:
        raise Refused(f"{arn} is not a package of the group {names.model_package_group}.")
    if status != "Approved":
        raise Refused(f"{arn} is {status}, not Approved: approve it first.")
