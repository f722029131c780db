"""SageMaker's feature groups and model package groups, and the repositories of model images."""

from __future__ import annotations

from dataclasses import dataclass

from applier.kinds.core import Kind, Part, Spec, Update, call, call_if_there, pages, request_of

FEATURE_GROUP = Kind(
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
    renames={"name": "repositoryName", "lifecyclePolicy": "lifecyclePolicyText"},
    fields=("repositoryName", "imageTagMutability", "imageScanningConfiguration"),
    parts=(
        Part(
            "lifecyclePolicyText",
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
