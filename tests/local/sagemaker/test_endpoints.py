"""Endpoints are created, invoked, updated without downtime and deleted as they are on AWS."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import (
    BUCKET,
    IMAGE,
    ROLE,
    configure,
    deploy,
    get,
    in_service,
    keys,
    put_model,
    settled,
    wait_until,
)


def test_an_endpoint_answers_with_its_variant_and_content_type(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    answer = runtime.invoke_endpoint(EndpointName=name, Body=b"hi", ContentType="text/csv", Accept="text/csv")
    assert answer["Body"].read() == b"a/:hi"
    assert (answer["InvokedProductionVariant"], answer["ContentType"]) == ("a", "text/csv")


def test_an_endpoint_tells_what_it_serves(sagemaker_client: Any, name: str) -> None:
    endpoint = deploy(sagemaker_client, name)
    assert endpoint["EndpointConfigName"] == name
    assert endpoint["ProductionVariants"][0]["VariantName"] == "a"
    assert endpoint["ProductionVariants"][0]["CurrentWeight"] == 1.0
    assert endpoint["CreationTime"] <= endpoint["LastModifiedTime"]


@pytest.mark.parametrize(("body", "status", "whose"), [(b"bad", 400, "client"), (b"broken", 500, "server")])
def test_a_models_error_keeps_its_status(
    sagemaker_client: Any, runtime: Any, name: str, body: bytes, status: int, whose: str
) -> None:
    deploy(sagemaker_client, name)
    with pytest.raises(ClientError, match=f"Received {whose} error \\({status}\\) from primary") as error:
        runtime.invoke_endpoint(EndpointName=name, Body=body)
    answer = error.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert (answer["OriginalStatusCode"], answer["OriginalMessage"]) == (status, f"a/:{body.decode()}")


def test_an_unknown_endpoint_or_variant_is_refused(sagemaker_client: Any, runtime: Any, name: str) -> None:
    with pytest.raises(ClientError, match=f"Endpoint {name} of account .* not found"):
        runtime.invoke_endpoint(EndpointName=name, Body=b"")
    deploy(sagemaker_client, name)
    with pytest.raises(ClientError, match="Variant zzz was not found"):
        runtime.invoke_endpoint(EndpointName=name, Body=b"", TargetVariant="zzz")


def test_variants_share_requests_by_weight(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name, a=1, b=0)
    assert _variants(runtime, name, 20) == {"a": 20}
    sagemaker_client.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "a", "DesiredWeight": 0},
            {"VariantName": "b", "DesiredWeight": 3, "DesiredInstanceCount": 2},
        ],
    )
    endpoint = in_service(sagemaker_client, name)
    assert [variant["CurrentWeight"] for variant in endpoint["ProductionVariants"]] == [0, 3]
    assert _variants(runtime, name, 20) == {"b": 20}
    answer = runtime.invoke_endpoint(EndpointName=name, Body=b"x", TargetVariant="a")
    assert answer["InvokedProductionVariant"] == "a"


def test_an_update_drops_no_request(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    before = _processes_of(name)
    answers: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = runtime.invoke_endpoint(EndpointName=name, Body=b"slow" if not answers else b"x")
            answers.append(answer["InvokedProductionVariant"])

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    configure(sagemaker_client, f"{name}-2", b=1)
    sagemaker_client.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    assert sagemaker_client.describe_endpoint(EndpointName=name)["EndpointStatus"] in ("Updating", "InService")
    assert in_service(sagemaker_client, name)["EndpointConfigName"] == f"{name}-2"
    wait_until(lambda: not before & _processes_of(name))
    wait_until(lambda: answers[-1] == "b")
    done.set()
    for thread in asking:
        thread.join()
    assert set(answers) == {"a", "b"}


def test_a_failed_update_goes_on_serving_what_was_served(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    configure(sagemaker_client, f"{name}-2", environment={"CRASH": "yes"}, b=1)
    sagemaker_client.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    endpoint = in_service(sagemaker_client, name)
    assert endpoint["EndpointConfigName"] == name
    assert "this model can't be loaded" in endpoint["FailureReason"]
    assert _variants(runtime, name, 3) == {"a": 3}


def test_an_endpoint_whose_model_does_not_start_fails_with_a_reason(sagemaker_client: Any, name: str) -> None:
    configure(sagemaker_client, name, environment={"CRASH": "yes"}, a=1)
    sagemaker_client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoint = wait_until(lambda: settled(sagemaker_client, name))
    assert endpoint["EndpointStatus"] == "Failed"
    assert "this model can't be loaded" in endpoint["FailureReason"]
    assert not _processes_of(name)


def test_a_program_that_dies_is_started_again(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    with pytest.raises(ClientError, match="ModelError"):
        runtime.invoke_endpoint(EndpointName=name, Body=b"die")

    def answers() -> bool:
        try:
            return runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read() == b"a/:x"
        except ClientError:
            return False

    wait_until(answers)
    assert sagemaker_client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"


def test_a_deleted_endpoint_leaves_no_process(sagemaker_client: Any, name: str) -> None:
    deploy(sagemaker_client, name, a=1, b=1)
    assert len(_processes_of(name)) >= 2
    _delete(sagemaker_client, name)
    assert not _processes_of(name)


def test_an_endpoint_tells_what_happens_to_it(sagemaker_client: Any, runtime: Any, name: str) -> None:
    def status() -> str:
        return sagemaker_client.describe_endpoint(EndpointName=name)["EndpointStatus"]

    configure(sagemaker_client, f"{name}-sick", environment={"SICK": "yes"}, a=1)  # its /ping never answers 200
    sagemaker_client.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-sick")
    assert status() == "Creating"
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker_client.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-sick")
    _delete(sagemaker_client, name)
    deploy(sagemaker_client, name)
    assert status() == "InService"
    sagemaker_client.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-sick")
    assert status() == "Updating"
    assert _variants(runtime, name, 3) == {"a": 3}
    _delete(sagemaker_client, name)
    with pytest.raises(ClientError, match="Could not find endpoint"):
        status()
    assert not _processes_of(name)


def test_a_model_from_a_package_is_served(sagemaker_client: Any, runtime: Any, name: str) -> None:
    sagemaker_client.create_model_package_group(ModelPackageGroupName=name)
    container = {
        "Image": IMAGE,
        "ModelDataUrl": put_model(f"{name}/p.tar.gz", "packaged"),
        "Environment": {"GREETING": "of the package"},
    }
    arn = sagemaker_client.create_model_package(
        ModelPackageGroupName=name,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["a/b"],
            "SupportedResponseMIMETypes": ["a/b"],
        },
    )["ModelPackageArn"]
    sagemaker_client.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"ModelPackageName": arn, "Environment": {"GREETING": "of the model"}},
    )
    variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker_client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker_client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    in_service(sagemaker_client, name)
    body = runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read()
    assert body == b"packaged/of the model:x"


def test_what_was_asked_and_answered_is_captured(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name, capture=_capture(name, JsonContentTypes=["application/json"]))
    answer = {"ContentType": "application/json", "Accept": "application/json", "EndpointName": name}
    for number in range(3):
        runtime.invoke_endpoint(Body=str(number).encode(), InferenceId=f"id-{number}", **answer)
    records = wait_until(lambda: len(_captured(name)) == 3 and _captured(name))
    assert sorted(record["eventMetadata"]["inferenceId"] for record in records) == ["id-0", "id-1", "id-2"]
    assert len({record["eventMetadata"]["eventId"] for record in records}) == 3
    first = next(record for record in records if record["eventMetadata"]["inferenceId"] == "id-0")
    assert first["captureData"] == {
        "endpointInput": {"observedContentType": "application/json", "mode": "INPUT", "data": "0", "encoding": "JSON"},
        "endpointOutput": {
            "observedContentType": "application/json",
            "mode": "OUTPUT",
            "data": "a/:0",
            "encoding": "JSON",
        },
    }
    assert first["eventVersion"] == "0"


def test_other_content_types_are_captured_in_base64(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name, capture=_capture(name))
    runtime.invoke_endpoint(EndpointName=name, Body=b"\xff", ContentType="image/png")
    record = wait_until(lambda: _captured(name))[0]
    asked = record["captureData"]["endpointInput"]
    assert (asked["encoding"], base64.b64decode(asked["data"])) == ("BASE64", b"\xff")


def test_captured_data_lies_by_the_hour(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name, capture=_capture(name))
    runtime.invoke_endpoint(EndpointName=name, Body=b"x")
    key = wait_until(lambda: keys(f"{name}/captured/"))[0]
    folder, _, file = key.rpartition("/")
    assert folder.startswith(f"{name}/captured/{name}/a/2")
    assert [len(part) for part in folder.split("/")[-4:]] == [4, 2, 2, 2]
    assert file.endswith(".jsonl")


def test_a_sample_of_nothing_captures_nothing(sagemaker_client: Any, runtime: Any, name: str) -> None:
    endpoint = deploy(sagemaker_client, name, capture=_capture(name) | {"InitialSamplingPercentage": 0})
    assert endpoint["DataCaptureConfig"]["CurrentSamplingPercentage"] == 0
    other = f"{name}-all"
    deploy(sagemaker_client, other, capture=_capture(other))
    runtime.invoke_endpoint(EndpointName=name, Body=b"x")
    runtime.invoke_endpoint(EndpointName=other, Body=b"x")
    wait_until(lambda: _captured(other))
    assert not _captured(name)


def _delete(sagemaker: Any, name: str) -> None:
    sagemaker.delete_endpoint(EndpointName=name)
    wait_until(lambda: not sagemaker.list_endpoints(NameContains=name)["Endpoints"])


def _variants(runtime: Any, name: str, count: int) -> dict[str, int]:
    answers = [runtime.invoke_endpoint(EndpointName=name, Body=b"x") for _ in range(count)]
    return dict(Counter(answer["InvokedProductionVariant"] for answer in answers))


def _capture(name: str, **headers: list[str]) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/{name}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        **({"CaptureContentTypeHeader": headers} if headers else {}),
    }


def _captured(name: str) -> list[dict[str, Any]]:
    objects = [get(f"s3://{BUCKET}/{key}") for key in keys(f"{name}/captured/")]
    return [json.loads(line) for body in objects for line in body.splitlines()]


def _processes_of(name: str) -> set[int]:
    """The processes that serve the endpoint."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get("ENDPOINT_NAME") == name and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found
