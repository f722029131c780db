"""An endpoint is updated blue/green: in steps, under the eyes of alarms, back when one of them fires, with no request
lost; and a shadow is asked everything without any caller noticing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loopcast import aws as kernel
from tests.conftest import free_port, kill
from tests.local.sagemaker.conftest import (
    BUCKET,
    client,
    configure,
    deploy,
    get,
    in_service,
    keys,
    wait_until,
)

HOUR = 3600


@pytest.fixture
def alarm(aws: Any, name: str) -> Callable[[str], None]:
    """Makes an alarm of the test's name, in the state OK, and sets its state from then on."""
    cloudwatch = kernel.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Tests",
        MetricName=name,
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )

    def put(state: str) -> None:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")

    put("OK")
    return put


def guardrails(kind: str, wait: int, *alarms: str, size: int = 10, **policy: Any) -> dict[str, Any]:
    """A DeploymentConfig."""
    field = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind)
    sizes = {field: {"Type": "CAPACITY_PERCENT", "Value": size}} if field else {}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm} for alarm in alarms]}} if alarms else {}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **policy}, **rollback}


def update(sagemaker: Any, name: str, deployment: dict[str, Any], environment: dict[str, str] | None = None) -> None:
    """Updates the endpoint to a configuration whose model says `new`."""
    configure(sagemaker, f"{name}-new", environment={"GREETING": "new", **(environment or {})}, a=1)
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-new", DeploymentConfig=deployment)


def bakes(sagemaker: Any, name: str, share: float) -> bool:
    described = sagemaker.describe_endpoint(EndpointName=name)
    pending = described.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])[0]
    return pending.get("VariantStatus", [{}])[0].get("Status") == "Baking" and pending["CurrentWeight"] == share


def ask(runtime: Any, name: str, body: bytes = b"x", **request: Any) -> str:
    answer = runtime.invoke_endpoint(EndpointName=name, Body=body, **request)
    assert answer["InvokedProductionVariant"] == "a"
    return answer["Body"].read().decode()


def said(runtime: Any, name: str, count: int, body: bytes = b"x") -> Counter[str]:
    return Counter(ask(runtime, name, body) for _ in range(count))


@contextmanager
def asked_all_the_time(runtime: Any, name: str):
    """Gathers the answers, and fails when one request does."""
    answers: list[str] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            answers.append(ask(runtime, name, b"x"))

    threads = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_a_canary_takes_its_share_then_all(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    with asked_all_the_time(runtime, name) as answers:
        update(sagemaker_client, name, guardrails("CANARY", 1, size=20))
        wait_until(lambda: bakes(sagemaker_client, name, 0.2))
        described = sagemaker_client.describe_endpoint(EndpointName=name)
        endpoint = in_service(sagemaker_client, name)
        wait_until(lambda: answers[-1] == "a/new:x")
    assert set(answers) == {"a/:x", "a/new:x"}
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", name)
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == f"{name}-new"
    assert endpoint["EndpointConfigName"] == f"{name}-new"
    assert endpoint["LastDeploymentConfig"] == guardrails("CANARY", 1, size=20)
    assert "PendingDeploymentSummary" not in endpoint
    assert "FailureReason" not in endpoint


def test_while_a_canary_bakes_both_fleets_answer_in_the_stated_share(
    sagemaker_client: Any, runtime: Any, name: str, alarm: Callable[[str], None]
) -> None:
    deploy(sagemaker_client, name)
    update(sagemaker_client, name, guardrails("CANARY", HOUR, name))
    wait_until(lambda: bakes(sagemaker_client, name, 0.1))
    assert said(runtime, name, 30) == {"a/:x": 27, "a/new:x": 3}
    assert Counter(ask(runtime, name, TargetVariant="a") for _ in range(10))["a/new:x"] == 1


@pytest.mark.parametrize("composite", [False, True])
def test_an_alarm_takes_a_deployment_back_with_its_reason_and_no_request_is_lost(
    sagemaker_client: Any, runtime: Any, name: str, alarm: Callable[[str], None], composite: bool
) -> None:
    watched = name
    if composite:
        watched = f"{name}-composite"
        kernel.client("cloudwatch").put_composite_alarm(AlarmName=watched, AlarmRule=f"ALARM({name})")
    deploy(sagemaker_client, name)
    with asked_all_the_time(runtime, name) as answers:
        update(sagemaker_client, name, guardrails("CANARY", HOUR, watched, size=50))
        wait_until(lambda: bakes(sagemaker_client, name, 0.5))
        wait_until(lambda: "a/new:x" in answers)
        alarm("ALARM")
        endpoint = in_service(sagemaker_client, name)
        wait_until(lambda: answers[-1] == "a/:x")
    assert endpoint["EndpointConfigName"] == name
    assert f"alarm(s) breached during deployment: {watched}" in endpoint["FailureReason"]
    assert "PendingDeploymentSummary" not in endpoint
    assert said(runtime, name, 10) == {"a/:x": 10}


def test_an_alarm_counts_also_after_all_traffic_has_shifted(
    sagemaker_client: Any, runtime: Any, name: str, alarm: Callable[[str], None]
) -> None:
    deploy(sagemaker_client, name)
    update(sagemaker_client, name, guardrails("ALL_AT_ONCE", HOUR, name))
    wait_until(lambda: bakes(sagemaker_client, name, 1.0))
    assert said(runtime, name, 5) == {"a/new:x": 5}
    alarm("ALARM")
    assert in_service(sagemaker_client, name)["EndpointConfigName"] == name
    assert said(runtime, name, 5) == {"a/:x": 5}


def test_linear_steps_shift_the_traffic_and_the_old_fleet_stays_a_while(
    sagemaker_client: Any, runtime: Any, name: str
) -> None:
    deploy(sagemaker_client, name)
    update(sagemaker_client, name, guardrails("LINEAR", 1, size=50, TerminationWaitInSeconds=1))
    wait_until(lambda: bakes(sagemaker_client, name, 0.5))
    wait_until(lambda: bakes(sagemaker_client, name, 1.0))
    assert in_service(sagemaker_client, name)["EndpointConfigName"] == f"{name}-new"
    assert said(runtime, name, 5) == {"a/new:x": 5}


def test_a_new_program_that_dies_while_it_bakes_is_taken_back(sagemaker_client: Any, runtime: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    update(sagemaker_client, name, guardrails("CANARY", HOUR, size=50))
    wait_until(lambda: bakes(sagemaker_client, name, 0.5))
    with pytest.raises(ClientError, match="ModelError"):
        said(runtime, name, 2, b"die-new")
    endpoint = in_service(sagemaker_client, name)
    assert "The programs of a ended by themselves during deployment" in endpoint["FailureReason"]
    assert said(runtime, name, 5) == {"a/:x": 5}


def test_a_deployment_is_refused_that_names_no_alarm_or_another_variant(sagemaker_client: Any, name: str) -> None:
    deploy(sagemaker_client, name)
    with pytest.raises(ClientError, match=f"Could not find the CloudWatch alarms {name}-no"):
        update(sagemaker_client, name, guardrails("CANARY", 0, f"{name}-no"))
    configure(sagemaker_client, f"{name}-b", b=1)
    with pytest.raises(ClientError, match="same variant names as the old one: a"):
        sagemaker_client.update_endpoint(
            EndpointName=name, EndpointConfigName=f"{name}-b", DeploymentConfig=guardrails("CANARY", 0)
        )
    assert sagemaker_client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"


def test_after_kill_9_a_canary_bakes_on_and_is_still_taken_back(
    own_server: Any, name: str, alarm: Callable[[str], None]
) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    sagemaker, runtime = client(endpoint, "sagemaker"), client(endpoint, "sagemaker-runtime")
    with own_server(endpoint) as server:
        deploy(sagemaker, name)
        update(sagemaker, name, guardrails("CANARY", HOUR, name, size=20))
        wait_until(lambda: bakes(sagemaker, name, 0.2))
        kill(server)
    with own_server(endpoint):
        assert bakes(sagemaker, name, 0.2)
        assert said(runtime, name, 10) == {"a/:x": 8, "a/new:x": 2}
        alarm("ALARM")
        assert in_service(sagemaker, name)["EndpointConfigName"] == name
        assert said(runtime, name, 10) == {"a/:x": 10}


def shadowed(sagemaker: Any, name: str, environment: dict[str, str], weight: float = 1.0) -> None:
    """An endpoint whose variant `a` has the shadow `b`, with everything captured."""
    for variant, variables in (("a", {}), ("b", environment)):
        configure(sagemaker, f"{name}-{variant}", environment=variables, **{variant: 1})
    described = {
        variant: sagemaker.describe_endpoint_config(EndpointConfigName=f"{name}-{variant}")["ProductionVariants"]
        for variant in ("a", "b")
    }
    described["b"][0]["InitialVariantWeight"] = weight
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/{name}",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=described["a"],
        ShadowProductionVariants=described["b"],
        DataCaptureConfig=capture,
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    in_service(sagemaker, name)


def captured(name: str, variant: str) -> list[dict[str, Any]]:
    bodies = [get(f"s3://{BUCKET}/{key}") for key in keys(f"{name}/{name}/{variant}/")]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_a_shadow_is_asked_the_same_and_its_answers_are_only_captured(
    sagemaker_client: Any, runtime: Any, name: str
) -> None:
    shadowed(sagemaker_client, name, {"GREETING": "shadow"}, weight=0.5)
    for number in range(4):
        sent = {"ContentType": "text/csv", "Accept": "text/csv", "InferenceId": f"id-{number}"}
        assert ask(runtime, name, str(number).encode(), **sent) == f"a/:{number}"
    shadow = wait_until(lambda: len(captured(name, "b")) == 2 and captured(name, "b"))
    assert len(wait_until(lambda: len(captured(name, "a")) == 4 and captured(name, "a"))) == 4
    data = {item["captureData"]["endpointOutput"]["data"] for item in shadow}
    assert data == {"b/shadow:1", "b/shadow:3"}
    assert {item["eventMetadata"]["inferenceId"] for item in shadow} == {"id-1", "id-3"}
    endpoint = sagemaker_client.describe_endpoint(EndpointName=name)
    assert endpoint["ShadowProductionVariants"][0]["VariantName"] == "b"


def test_a_shadow_that_fails_hurts_nobody(sagemaker_client: Any, runtime: Any, name: str) -> None:
    shadowed(sagemaker_client, name, {"BROKEN": "yes"})
    for number in range(20):
        assert ask(runtime, name, str(number).encode()) == f"a/:{number}"
    assert not captured(name, "b")
    with pytest.raises(ClientError, match="Variant b was not found"):
        runtime.invoke_endpoint(EndpointName=name, Body=b"x", TargetVariant="b")


def test_a_configuration_has_at_most_one_shadow_of_one_variant(sagemaker_client: Any, name: str) -> None:
    configure(sagemaker_client, name, a=1, b=1)
    variants = sagemaker_client.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"]
    with pytest.raises(ClientError, match="one variant in ProductionVariants and one shadow"):
        sagemaker_client.create_endpoint_config(
            EndpointConfigName=f"{name}-2", ProductionVariants=variants, ShadowProductionVariants=variants[:1]
        )
    with pytest.raises(ClientError, match="names of variants must differ"):
        sagemaker_client.create_endpoint_config(
            EndpointConfigName=f"{name}-2", ProductionVariants=variants[:1], ShadowProductionVariants=variants[:1]
        )
