"""Endpoints and model packages tell EventBridge's default bus of every change of their state."""

from __future__ import annotations

import json
from typing import Any

from local.sagemaker.events import event_of
from local.sagemaker.store import Resource
from loopcast.aws import client
from tests.local.aws.waiting import until

ENDPOINT = {"EndpointName": "e", "EndpointArn": "arn:e", "EndpointConfigName": "c"}


def endpoint(status: str, **other: Any) -> Resource:
    return Resource("endpoint", "e", {**ENDPOINT, "EndpointStatus": status, **other})


def test_a_new_state_is_an_event_with_the_status_as_events_spell_it() -> None:
    event = event_of(endpoint("Updating"), endpoint("InService", CreationTime=0.5))

    assert event
    assert (event["DetailType"], event["Resources"]) == ("SageMaker Endpoint State Change", ["arn:e"])
    assert json.loads(event["Detail"]) == {
        **ENDPOINT,
        "EndpointStatus": "IN_SERVICE",
        "CreationTime": "1970-01-01T00:00:00.500000+00:00",
    }


def test_what_changes_nothing_of_the_state_is_no_event() -> None:
    assert event_of(endpoint("InService"), endpoint("InService", LastModifiedTime=1.0)) is None
    assert event_of(None, Resource("model", "m", {"ModelName": "m"})) is None


def test_the_versions_of_a_group_are_heard_of_in_a_queue(sagemaker_client: Any, bucket: str, name: str) -> None:
    queue = client("sqs").create_queue(QueueName=name)["QueueUrl"]
    pattern = {"source": ["aws.sagemaker"], "detail": {"ModelPackageGroupName": [name]}}
    client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:000000000000:{name}"}
    client("events").put_targets(Rule=name, Targets=[target])
    heard: list[tuple[int, str]] = []

    def hears(count: int) -> bool:
        for message in client("sqs").receive_message(QueueUrl=queue).get("Messages", []):
            detail = json.loads(message["Body"])["detail"]
            heard.append((detail["ModelPackageVersion"], detail["ModelApprovalStatus"]))
        return len(heard) >= count

    sagemaker_client.create_model_package_group(ModelPackageGroupName=name)
    arn = sagemaker_client.create_model_package(
        ModelPackageGroupName=name,
        InferenceSpecification={
            "Containers": [{"Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny:1"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    until(lambda: hears(1))
    sagemaker_client.update_model_package(ModelPackageArn=arn, ApprovalDescription="nothing new")
    sagemaker_client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    until(lambda: hears(2))

    assert heard == [(1, "PendingManualApproval"), (1, "Approved")]
