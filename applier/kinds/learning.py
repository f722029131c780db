"""SageMaker's feature groups and model package groups, and the repositories of model images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from applier.kinds.core import Answer, Found, Kind, Part, Spec, Update, call, call_if_there, pages, request_of


@dataclass(frozen=True, kw_only=True)
class _FeatureGroup(Kind):
    """A feature can be added to a group, but neither changed nor taken away."""

    def can_change(self, name: str, spec: Spec, found: Found) -> bool:
        if name != "FeatureDefinitions":
            return super().can_change(name, spec, found)
        wanted = _features(spec[name])
        return all(feature in wanted for feature in _features(found.fields[name]))


def _features(definitions: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(definition["FeatureName"], definition["FeatureType"]) for definition in definitions]


def _additions(spec: Spec, answer: Answer) -> Mapping[str, Any]:
    there = _features(answer["FeatureDefinitions"])
    definitions = spec["FeatureDefinitions"]
    added = [item for item, feature in zip(definitions, _features(definitions), strict=True) if feature not in there]
    return {"FeatureGroupName": spec["FeatureGroupName"], "FeatureAdditions": added}


FEATURE_GROUP = _FeatureGroup(
    service="sagemaker",
    name="FeatureGroup",
    create="CreateFeatureGroup",
    read="DescribeFeatureGroup",
    delete="DeleteFeatureGroup",
    key="FeatureGroupName",
    keys={"FeatureGroupName": "FeatureGroupName"},
    fields=(
        *("FeatureGroupName", "RecordIdentifierFeatureName", "EventTimeFeatureName", "FeatureDefinitions"),
        *("OnlineStoreConfig", "OfflineStoreConfig", "ThroughputConfig", "RoleArn", "Description"),
    ),
    updates=(
        Update("UpdateFeatureGroup", frozenset({"FeatureDefinitions"}), _additions),
        Update(
            "UpdateFeatureGroup", frozenset({"ThroughputConfig"}), request_of("FeatureGroupName", "ThroughputConfig")
        ),
    ),
    status="FeatureGroupStatus",
    ready=frozenset({"Created"}),
    failed=frozenset({"CreateFailed", "DeleteFailed"}),
    retried="ValidationException: .*(role|Role)",
)


@dataclass(frozen=True, kw_only=True)
class _ModelPackageGroup(Kind):
    def empty(self, spec: Spec) -> str:
        path, group = "ModelPackageSummaryList[].ModelPackageArn", spec["ModelPackageGroupName"]
        packages = pages(self.service, "ListModelPackages", path, ModelPackageGroupName=group)
        for package in packages:
            call_if_there(self.service, "DeleteModelPackage", ModelPackageName=package)
        return f"{len(packages)} model packages" if packages else ""


MODEL_PACKAGE_GROUP = _ModelPackageGroup(
    service="sagemaker",
    name="ModelPackageGroup",
    create="CreateModelPackageGroup",
    read="DescribeModelPackageGroup",
    delete="DeleteModelPackageGroup",
    key="ModelPackageGroupName",
    keys={"ModelPackageGroupName": "ModelPackageGroupName"},
    fields=("ModelPackageGroupName", "ModelPackageGroupDescription"),
    status="ModelPackageGroupStatus",
    ready=frozenset({"Completed"}),
    failed=frozenset({"Failed", "DeleteFailed"}),
)


@dataclass(frozen=True, kw_only=True)
class _Repository(Kind):
    def empty(self, spec: Spec) -> str:
        name = spec["repositoryName"]
        images = pages(self.service, "ListImages", "imageIds[]", repositoryName=name)
        for start in range(0, len(images), 100):
            call(self.service, "BatchDeleteImage", repositoryName=name, imageIds=images[start : start + 100])
        return f"{len(images)} images" if images else ""


REPOSITORY = _Repository(
    service="ecr",
    name="Repository",
    create="CreateRepository",
    read="DescribeRepositories",
    delete="DeleteRepository",
    key="repositoryName",
    keys={"repositoryName": "repositoryName"},
    within="repositories[0]",
    renames={"name": "repositoryName"},
    fields=("repositoryName", "imageTagMutability", "imageScanningConfiguration"),
    parts=(
        Part(
            "lifecyclePolicy",
            "PutLifecyclePolicy",
            "lifecyclePolicyText",
            "GetLifecyclePolicy",
            "lifecyclePolicyText",
            {"repositoryName": "repositoryName"},
        ),
    ),
    updates=(
        Update(
            "PutImageTagMutability",
            frozenset({"imageTagMutability"}),
            request_of("repositoryName", "imageTagMutability"),
        ),
        Update(
            "PutImageScanningConfiguration",
            frozenset({"imageScanningConfiguration"}),
            request_of("repositoryName", "imageScanningConfiguration"),
        ),
    ),
)
