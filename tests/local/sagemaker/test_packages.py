"""The model registry: groups, versions, approval."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import IMAGE, put_model

METRICS = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/statistics.json"}}}


def test_versions_count_up_and_wait_for_approval(sagemaker_client: Any, name: str) -> None:
    first, second = (_register(sagemaker_client, name) for _ in range(2))
    assert first.endswith(f":model-package/{name}/1")
    assert second.endswith(f":model-package/{name}/2")
    package = sagemaker_client.describe_model_package(ModelPackageName=second)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelMetrics"] == METRICS
    assert package["CustomerMetadataProperties"] == {"loss": "0.25"}
    assert package["InferenceSpecification"]["Containers"][0]["Image"] == IMAGE


@pytest.mark.parametrize("status", ["Approved", "Rejected"])
def test_a_version_is_approved_or_rejected(sagemaker_client: Any, name: str, status: str) -> None:
    arn = _register(sagemaker_client, name)
    sagemaker_client.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus=status,
        ApprovalDescription="as seen in its report",
        CustomerMetadataProperties={"stage": "staging"},
        CustomerMetadataPropertiesToRemove=["loss"],
    )
    package = sagemaker_client.describe_model_package(ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == status
    assert package["ApprovalDescription"] == "as seen in its report"
    assert package["CustomerMetadataProperties"] == {"stage": "staging"}


def test_approved_versions_are_found_newest_first(sagemaker_client: Any, name: str) -> None:
    arns = [_register(sagemaker_client, name) for _ in range(3)]
    for arn in (arns[0], arns[2]):
        sagemaker_client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    listed = sagemaker_client.list_model_packages(
        ModelPackageGroupName=name, ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending"
    )
    assert [p["ModelPackageArn"] for p in listed["ModelPackageSummaryList"]] == [arns[2], arns[0]]
    assert [p["ModelPackageVersion"] for p in listed["ModelPackageSummaryList"]] == [3, 1]


def test_the_number_of_a_deleted_version_is_not_given_again(sagemaker_client: Any, name: str) -> None:
    arn = _register(sagemaker_client, name)
    sagemaker_client.delete_model_package(ModelPackageName=arn)
    assert _register(sagemaker_client, name).endswith("/2")


def test_a_group_with_versions_is_not_deleted(sagemaker_client: Any, name: str) -> None:
    arn = _register(sagemaker_client, name)
    with pytest.raises(ClientError, match="contains Model Packages"):
        sagemaker_client.delete_model_package_group(ModelPackageGroupName=name)
    sagemaker_client.delete_model_package(ModelPackageName=arn)
    sagemaker_client.delete_model_package_group(ModelPackageGroupName=name)
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker_client.describe_model_package_group(ModelPackageGroupName=name)


def _register(sagemaker: Any, group: str) -> str:
    if not sagemaker.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]:
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
    container = {"Image": IMAGE, "ModelDataUrl": put_model(f"{group}/model.tar.gz", group)}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    answer = sagemaker.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification=specification,
        ModelMetrics=METRICS,
        CustomerMetadataProperties={"loss": "0.25"},
        ModelApprovalStatus="PendingManualApproval",
    )
    return answer["ModelPackageArn"]
