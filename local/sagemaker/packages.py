"""Model package groups and model packages: the registry in which versions of a model wait for approval."""

from __future__ import annotations

import re
from typing import Any

from local.sagemaker.context import Context, now
from local.sagemaker.errors import ConflictException, ValidationException
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, create, describe, listing, page
from local.sagemaker.store import Resource

GROUP = Kind(
    arn="model-package-group",
    prefix="ModelPackageGroup",
    missing="ModelPackageGroup {arn} does not exist.",
    taken="Model Package Group already exists: {arn}",
)
# A package is stored under what follows `model-package/` in its ARN: `group/version`, or a name.
PACKAGE = Kind(
    arn="model-package",
    prefix="ModelPackage",
    missing="ModelPackage {arn} does not exist.",
    taken="Model Package already exists: {arn}",
)
_CHANGEABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)


@operation("CreateModelPackageGroup")
def create_model_package_group(context: Context, request: Json) -> Json:
    fields = {"CreationTime": now(), "CreatedBy": {}, "ModelPackageGroupStatus": "Completed"}
    return create(context, GROUP, request, fields)


@operation("DescribeModelPackageGroup")
def describe_model_package_group(context: Context, request: Json) -> Json:
    return describe(context, GROUP, _after_slash(request["ModelPackageGroupName"]))


@operation("ListModelPackageGroups")
def list_model_package_groups(context: Context, request: Json) -> Json:
    return listing(context, GROUP, "ListModelPackageGroups", request)


@operation("DeleteModelPackageGroup")
def delete_model_package_group(context: Context, request: Json) -> Json:
    name = _after_slash(request["ModelPackageGroupName"])
    with context.store.transaction():
        if any(package.document.get("ModelPackageGroupName") == name for package in context.store.all(PACKAGE.arn)):
            raise ConflictException("Model Package Group contains Model Packages. Please delete these before deleting.")
        GROUP.delete(context, name)
    return {}


@operation("CreateModelPackage")
def create_model_package(context: Context, request: Json) -> Json:
    group, name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
    if (group is None) == (name is None):
        raise ValidationException("Give either ModelPackageGroupName, for a new version in it, or ModelPackageName.")
    with context.store.transaction():
        if group is None:
            return _create_package(context, request, str(name), {"ModelPackageName": name})
        group = _after_slash(group)
        version = _next_version(context, group)
        fields = {
            "ModelPackageName": group,
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        }
        return _create_package(context, request, f"{group}/{version}", fields)


@operation("DescribeModelPackage")
def describe_model_package(context: Context, request: Json) -> Json:
    return describe(context, PACKAGE, find_package(context, request["ModelPackageName"]).name)


@operation("ListModelPackages")
def list_model_packages(context: Context, request: Json) -> Json:
    group = request.get("ModelPackageGroupName")
    kept = [
        resource.document
        for resource in context.store.all(PACKAGE.arn)
        if _is_of(resource.document, group and _after_slash(group), request.get("ModelPackageType"))
        and request.get("ModelApprovalStatus") in (None, resource.document.get("ModelApprovalStatus"))
    ]
    return page("ListModelPackages", PACKAGE, kept, request)


@operation("UpdateModelPackage")
def update_model_package(context: Context, request: Json) -> Json:
    arn = request["ModelPackageArn"]
    name = find_package(context, arn).name
    context.store.change(PACKAGE.arn, name, lambda resource: _update(resource.document, request))
    return {"ModelPackageArn": arn}


@operation("DeleteModelPackage")
def delete_model_package(context: Context, request: Json) -> Json:
    PACKAGE.delete(context, find_package(context, request["ModelPackageName"]).name)
    return {}


def find_package(context: Context, name_or_arn: str) -> Resource:
    """The model package of an ARN or a name. Raises `ValidationException` when there is none."""
    return PACKAGE.find(context, re.sub(r"^arn:.*:model-package/", "", name_or_arn))


def _create_package(context: Context, request: Json, name: str, fields: Json) -> Json:
    moment = now()
    status: dict[str, Any] = {
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "CreatedBy": {},
        "LastModifiedBy": {},
    }
    own = {key: value for key, value in request.items() if key not in ("ClientToken", "ModelPackageGroupName")}
    return create(context, PACKAGE, {**own, "ModelPackageName": name}, {**status, **fields})


def _next_version(context: Context, group: str) -> int:
    """The group's next version; the number of a deleted version is never given again."""
    GROUP.find(context, group)
    changed = context.store.change(GROUP.arn, group, _count_version)
    return int(changed.notes["versions"]) if changed else 1


def _count_version(resource: Resource) -> None:
    resource.notes["versions"] = resource.notes.get("versions", 0) + 1


def _update(document: Json, request: Json) -> None:
    document.update({name: request[name] for name in _CHANGEABLE if name in request})
    metadata = {**document.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
    for key in request.get("CustomerMetadataPropertiesToRemove", []):
        metadata.pop(key, None)
    if metadata or "CustomerMetadataProperties" in document:
        document["CustomerMetadataProperties"] = metadata
    added = request.get("AdditionalInferenceSpecificationsToAdd", [])
    if added:
        document.setdefault("AdditionalInferenceSpecifications", []).extend(added)
    document.update(LastModifiedTime=now(), LastModifiedBy={})


def _is_of(document: Json, group: str | None, package_type: str | None) -> bool:
    if group is not None:
        return bool(document.get("ModelPackageGroupName") == group)
    versioned = "ModelPackageVersion" in document
    return {"Versioned": versioned, "Unversioned": not versioned, "Both": True}[package_type or "Unversioned"]


def _after_slash(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]
