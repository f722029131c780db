"""Every request is checked against the service model, and refused in the service's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local.sagemaker.images import CHECKOUT, find_image
from tests.conftest import Service
from tests.local.sagemaker.conftest import BUCKET, IMAGE, ROLE, put_model, trained, training_job


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RoleArn": None}, "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"),
        ({"RoleArn": "me"}, "Value 'me' at 'roleArn' failed to satisfy constraint: Member must have length greater"),
        ({"Colour": "blue"}, "Unknown parameter 'Colour' at 'the request', must be one of: TrainingJobName"),
        ({"HyperParameters": {"epochs": 20}}, "at 'hyperParameters.epochs.member' failed to satisfy constraint"),
        ({"TrainingJobName": "a_b"}, "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9])"),
        ({"TrainingJobName": "a" * 64}, "Member must have length less than or equal to 63"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: Member must have value greater",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Letter"}},
            "'algorithmSpecification.trainingInputMode' failed to satisfy constraint: Member must satisfy enum value",
        ),
        ({"InputDataConfig": [{"DataSource": {}}]}, "Value null at 'inputDataConfig.1.member.channelName'"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(local: Service, change: dict[str, Any], said: str) -> None:
    answer = _ask(local, "CreateTrainingJob", training_job("never") | change)
    assert answer.status_code == 400
    assert answer.json()["__type"] == "ValidationException"
    assert said in answer.json()["message"]


def test_all_that_is_wrong_is_told_at_once(local: Service) -> None:
    answer = _ask(local, "CreateTrainingJob", {})
    assert answer.json()["message"].startswith("3 validation errors detected: ")


def test_a_body_that_is_no_json_is_refused(local: Service) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    answer = requests.post(local.endpoint, data=b"{", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["__type"]) == (400, "SerializationException")


def test_an_operation_that_is_lacking_is_named(sagemaker_client: Any) -> None:
    with pytest.raises(ClientError, match="CreateNotebookInstance of sagemaker is not implemented by this local"):
        sagemaker_client.create_notebook_instance(NotebookInstanceName="n", InstanceType="ml.t3.medium", RoleArn=ROLE)


def test_an_operation_that_does_not_exist_is_named(local: Service) -> None:
    answer = _ask(local, "MakeCoffee", {})
    assert (answer.status_code, answer.json()["__type"]) == (404, "UnknownOperationException")
    assert "SageMaker.MakeCoffee" in answer.json()["message"]


def test_tags_are_added_listed_and_deleted(sagemaker_client: Any, name: str) -> None:
    request = training_job(name, Tags=[{"Key": "team", "Value": "loop"}])
    arn = sagemaker_client.create_training_job(**request)["TrainingJobArn"]
    sagemaker_client.add_tags(ResourceArn=arn, Tags=[{"Key": "cost", "Value": "low"}])
    assert sagemaker_client.list_tags(ResourceArn=arn)["Tags"] == [
        {"Key": "cost", "Value": "low"},
        {"Key": "team", "Value": "loop"},
    ]
    sagemaker_client.delete_tags(ResourceArn=arn, TagKeys=["cost"])
    assert sagemaker_client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "loop"}]


@pytest.mark.parametrize("arn", ["model/none", "coffee/cup", "model"])
def test_what_is_not_there_has_no_tags(sagemaker_client: Any, arn: str) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:{arn}"
    with pytest.raises(ClientError, match="Could not find a resource with ARN"):
        sagemaker_client.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "loop"}])
    with pytest.raises(ClientError, match="Could not find a resource with ARN"):
        sagemaker_client.list_tags(ResourceArn=arn)


def test_lists_are_filtered_sorted_and_come_in_pages(sagemaker_client: Any, name: str) -> None:
    for suffix in "bca":
        trained(sagemaker_client, f"{name}-{suffix}")
    trained(sagemaker_client, f"{name}-d", HyperParameters={"do": "fail"})
    pages = sagemaker_client.get_paginator("list_training_jobs").paginate(
        NameContains=name.upper(),
        StatusEquals="Completed",
        SortBy="Name",
        SortOrder="Descending",
        PaginationConfig={"PageSize": 2},
    )
    found = [[job["TrainingJobName"][-1] for job in page["TrainingJobSummaries"]] for page in pages]
    assert found == [["c", "b"], ["a"]]
    by_time = sagemaker_client.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert [job["TrainingJobName"][-1] for job in by_time] == ["b", "c", "a", "d"]
    after = sagemaker_client.list_training_jobs(NameContains=name, CreationTimeAfter=by_time[2]["CreationTime"])
    assert [job["TrainingJobName"][-1] for job in after["TrainingJobSummaries"]] == ["a", "d"]


def test_a_token_of_nowhere_is_refused(sagemaker_client: Any) -> None:
    with pytest.raises(ClientError, match="NextToken"):
        sagemaker_client.list_models(NextToken="x")


def test_a_model_is_described_and_deleted(sagemaker_client: Any, name: str) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": put_model(f"{name}.tar.gz", "m"), "Environment": {"A": "b"}}
    sagemaker_client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert sagemaker_client.describe_model(ModelName=name)["PrimaryContainer"] == container
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        sagemaker_client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker_client.delete_model(ModelName=name)
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker_client.describe_model(ModelName=name)


def test_a_model_without_its_data_is_refused(sagemaker_client: Any, name: str) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/{name}/nothing.tar.gz"}
    with pytest.raises(ClientError, match="Could not find model data at"):
        sagemaker_client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)


def test_an_endpoint_configuration_needs_a_model_that_is_there(sagemaker_client: Any, name: str) -> None:
    variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker_client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def test_every_deepar_image_stands_for_the_same_program() -> None:
    uris = [
        "522234722520.dkr.ecr.us-east-1.amazonaws.com/forecasting-deepar:1",
        "224300973850.dkr.ecr.eu-central-1.amazonaws.com/forecasting-deepar:1",
        "000000000000.dkr.ecr.us-east-1.amazonaws.com/loopcast-deepar:0.1",
    ]
    images = [find_image(CHECKOUT / "local/sagemaker/images.yaml", uri) for uri in uris]
    assert {image.module for image in images} == {"forecasters.deepar"}
    assert ["test:mean_wQuantileLoss" in image.metrics for image in images] == [True, True, False]  # AWS knows its own


def _ask(local: Service, operation: str, body: dict[str, Any]) -> requests.Response:
    """A request that no client would send."""
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    return requests.post(local.endpoint, data=json.dumps(body), headers=headers, timeout=10)
