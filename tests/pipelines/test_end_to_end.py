"""From minutes in the feature store to forecasts from production, with real training, endpoints and steps."""

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from components.algorithms import CANDIDATES
from components.backtest.backtest import backtest
from components.check_approval.check_approval import approved_package
from components.create_models.create_models import champion, create_models
from components.deploy_endpoint.deploy_endpoint import deploy, package_model
from components.deploy_endpoint.endpoint import Waiting
from components.models import create_model, served_model, served_package
from components.register.register import register
from components.roll_back.roll_back import take_back
from components.run import Refused, read_json
from components.store_performance.store_performance import store_performance
from components.train.train import Settings, train
from components.write_threshold.threshold import threshold
from components.write_threshold.write_threshold import write_threshold
from loopcast.aws import client
from loopcast.clock import Clock
from pipelines.forecast import forecast
from tests.components.stack import FIRST_MINUTE, make_run
from tests.pipelines.conftest import MINUTES, Stack

WAITING = Waiting(0.2, 120, Clock())
SETTINGS = Settings("ml.m5.large", {}, 120, 0.2)


@pytest.fixture(scope="module")
def built(stack: Stack) -> dict[str, Any]:
    return stack.result("build", "r1")


@pytest.fixture(scope="module")
def refusals(stack: Stack, built: dict[str, Any]) -> dict[str, str]:
    """What was said of the package before it was approved, and of production before staging served it."""
    arn, said = built["model_package_arn"], {}
    with pytest.raises(Refused) as unapproved:
        approved_package(stack.names, arn, "staging")
    client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    with pytest.raises(Refused) as early:
        approved_package(stack.names, arn, "production")
    said["unapproved"], said["early"] = str(unapproved.value), str(early.value)
    return said


@pytest.fixture(scope="module")
def staging(stack: Stack, built: dict[str, Any], refusals: dict[str, str]) -> dict[str, Any]:
    return stack.result("deploy", "r1", "--model-package-arn", built["model_package_arn"], "--stage", "staging")


@pytest.fixture(scope="module")
def production(stack: Stack, built: dict[str, Any], staging: dict[str, Any]) -> dict[str, Any]:
    champion_before = champion(stack.names)
    described = approved_package(stack.names, built["model_package_arn"], "production")
    model = package_model(stack.names, described)
    deploy(stack.names, "production", model, "p1", "ml.m5.large", WAITING)
    return {"threshold": write_threshold(stack.names, "production", described), "champion_before": champion_before}


@pytest.fixture(scope="module")
def second(stack: Stack, built: dict[str, Any], production: dict[str, Any]) -> dict[str, Any]:
    """A run of the same algorithm on the same minutes, once the first run's model is in production."""
    algorithm = built["model"]["algorithm"]
    return stack.result("build", "r2", "--candidates", algorithm if algorithm in CANDIDATES else "deepar")


def package(arn: str) -> dict[str, Any]:
    return dict(client("sagemaker").describe_model_package(ModelPackageName=arn))


def packages(stack: Stack) -> list[str]:
    answer = client("sagemaker").list_model_packages(ModelPackageGroupName=stack.names.model_package_group)
    return sorted(item["ModelPackageArn"] for item in answer["ModelPackageSummaryList"])


def jobs(stack: Stack) -> list[str]:
    training = client("sagemaker").list_training_jobs(NameContains=stack.names.prefix)["TrainingJobSummaries"]
    transform = client("sagemaker").list_transform_jobs(NameContains=stack.names.prefix)["TransformJobSummaries"]
    return sorted([item["TrainingJobName"] for item in training] + [item["TransformJobName"] for item in transform])


def test_a_build_leaves_one_judged_model_waiting_for_approval(built: dict[str, Any]) -> None:
    assert [entry["status"] for entry in built["packages"]].count("PendingManualApproval") == 1
    assert built["model"]["model_package_arn"] == built["model_package_arn"]
    assert built["backtest"]["windows"] == 10  # as many as a third of 300 minutes has, a horizon apart
    names = {row["name"] for row in built["backtest"]["rows"]}
    assert {"gradient boosting", "DeepAR", "persistence", "empirical quantiles of 1 h"} <= names
    losses = [row["loss"] for row in built["backtest"]["rows"]]
    assert losses == sorted(losses)


def test_the_verdict_follows_from_the_losses_and_a_rejected_model_bears_its_reasons(built: dict[str, Any]) -> None:
    rows = {row["name"]: row["loss"] for row in built["backtest"]["rows"]}
    losses = {entry["algorithm"]: entry["loss"] for entry in built["candidates"] if entry["loss"] is not None}
    best = min(losses, key=lambda name: losses[name])
    candidate = built["packages"][0]
    earned = losses[best] < min(loss for loss in rows.values() if loss not in losses.values())
    assert candidate["algorithm"] == best
    assert (candidate["status"] == "PendingManualApproval") is earned
    described = package(candidate["arn"])
    assert described.get("ApprovalDescription", "") == " ".join(candidate["reasons"])
    assert len(built["packages"]) == (1 if earned else 2)


def test_a_package_tells_its_lineage_and_points_at_its_performance(stack: Stack, built: dict[str, Any]) -> None:
    described = package(built["packages"][0]["arn"])
    known = described["CustomerMetadataProperties"]
    assert (known["run_id"], known["feed"], known["algorithm"]) == (
        "r1",
        stack.feed.name,
        built["packages"][0]["algorithm"],
    )
    assert known["data_start"] == f"{FIRST_MINUTE:%Y-%m-%dT%H:%M:%SZ}"
    assert known["data_end"] == f"{FIRST_MINUTE + timedelta(minutes=MINUTES):%Y-%m-%dT%H:%M:%SZ}"
    client("sagemaker").describe_training_job(TrainingJobName=known["training_job"])
    quality = described["ModelMetrics"]["ModelQuality"]
    assert str(read_json(quality["Statistics"]["S3Uri"])["loss"]) == known["loss"]
    assert "rmse" in read_json(quality["Constraints"]["S3Uri"])["regression_constraints"]


def test_a_package_points_at_what_its_training_data_looked_like(stack: Stack, built: dict[str, Any]) -> None:
    described, run = package(built["packages"][0]["arn"]), make_run(stack.feed, "r1")
    baseline = read_json(described["ModelMetrics"]["ModelDataQuality"]["Statistics"]["S3Uri"])
    trained_on = [value for value in read_json(run.uri("train", "series.json"))["target"] if value is not None]
    assert baseline["metrics"]["average_weight"]["mean"] == pytest.approx(np.mean(trained_on))
    assert baseline["metrics"]["parcel_count"]["mean"] == 1
    assert baseline["minutes"] == len(trained_on) + 1
    assert baseline["missing"] == pytest.approx(1 / baseline["minutes"])


def test_a_candidate_whose_training_fails_is_told_with_its_reason_and_the_run_goes_on(built: dict[str, Any]) -> None:
    *judged, statistical = built["candidates"]
    assert {entry["algorithm"] for entry in judged} == {"boosted", "deepar"}
    assert all(entry["loss"] is not None for entry in judged)
    assert (statistical["status"], statistical["loss"]) == ("Rejected", None)
    assert statistical["reasons"][0].startswith("It could not be judged: ")
    assert "nonsense" in statistical["reasons"][0]
    assert "Left out: statistical model." in built["decision"]


def test_nothing_that_was_held_out_was_trained_on(stack: Stack, built: dict[str, Any]) -> None:
    run = make_run(stack.feed, "r1")
    split, evaluation = read_json(run.uri("split.json")), read_json(run.uri("evaluation.json"))
    trained_on = read_json(run.uri("train", "series.json"))["target"]
    assert len(trained_on) == split["origins"][0] == evaluation["history"]["training_minutes"]
    assert evaluation["history"]["missing"] == 1
    assert trained_on[150] is None


def test_a_report_shows_the_backtest(stack: Stack, built: dict[str, Any]) -> None:
    assert "<svg" in (stack.output("build", "r1") / "report.html").read_text()


def test_steps_started_again_adopt_their_jobs_and_register_nothing_twice(stack: Stack, built: dict[str, Any]) -> None:
    before, run = (jobs(stack), packages(stack)), make_run(stack.feed, "r1")
    trained = train(run, ["boosted", "deepar", "empirical"], 1, SETTINGS).to_json()["models"]
    assert trained == read_json(run.uri("trained.json"))["models"]
    backtest(run, create_models(run, trained), "ml.m5.large", 120, 0.2)
    evaluation, verdict = read_json(run.uri("evaluation.json")), read_json(run.uri("verdict.json"))
    performance = store_performance(run, evaluation, verdict, {})
    again = register(run, trained, evaluation, verdict, performance, "")
    assert [item["arn"] for item in again] == [item["arn"] for item in built["packages"]]
    assert (jobs(stack), packages(stack)) == before


def test_a_champion_that_cant_answer_does_not_hold_up_its_successors(stack: Stack, built: dict[str, Any]) -> None:
    run = make_run(stack.feed, "r1")
    models = create_models(run, read_json(run.uri("trained.json"))["models"])
    backtested = backtest(run, {**models, "production": f"{stack.names.prefix}-deleted"}, "ml.m5.large", 120, 0.2)
    assert set(backtested["predictions"]) == {"boosted", "deepar", "empirical"}
    assert backtested["failed"]["production"].startswith("SageMaker refused the job: ")


def test_a_package_must_be_approved_and_serve_in_staging_before_production(refusals: dict[str, str]) -> None:
    assert "not Approved: approve it first" in refusals["unapproved"]
    assert "deploy" in refusals["early"]
    assert "to staging first" in refusals["early"]


def test_a_deployment_serves_sound_forecasts_and_captures_them(stack: Stack, staging: dict[str, Any]) -> None:
    made = forecast(stack.feed, "staging")
    assert made.minutes[0] == f"{FIRST_MINUTE + timedelta(minutes=MINUTES):%Y-%m-%dT%H:%M:%SZ}"
    values = np.array([made.quantiles[f"{quantile:g}"] for quantile in stack.feed.forecast.quantiles])
    assert values.shape == (3, 10)
    assert (np.diff(values, axis=0) >= 0).all()
    endpoint = client("sagemaker").describe_endpoint(EndpointName=staging["endpoint"])
    assert endpoint["DataCaptureConfig"]["CaptureStatus"] == "Started"


def test_a_forecast_can_be_made_from_an_earlier_minute(stack: Stack, staging: dict[str, Any]) -> None:
    origin = FIRST_MINUTE + timedelta(minutes=99)
    made = forecast(stack.feed, "staging", origin)
    assert made.origin == f"{origin:%Y-%m-%dT%H:%M:%SZ}"
    assert made.minutes[0] == f"{origin + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    with pytest.raises(Refused, match="take a later origin"):
        forecast(stack.feed, "staging", FIRST_MINUTE - timedelta(minutes=1))


def test_the_threshold_is_written_when_the_endpoint_is_healthy_up_or_down(
    stack: Stack, staging: dict[str, Any], production: dict[str, Any]
) -> None:
    assert float(stack.parameter("thresholds", "staging")) == pytest.approx(staging["threshold"], rel=1e-4)
    assert float(stack.parameter("thresholds", "production")) == pytest.approx(production["threshold"], rel=1e-4)
    stack.set_parameter("0.000001", "thresholds", "staging")
    described = package(staging["model_package_arn"])
    assert write_threshold(stack.names, "staging", described) == pytest.approx(staging["threshold"])
    assert float(stack.parameter("thresholds", "staging")) > 0.000001


def test_production_serves_the_package_of_staging(
    stack: Stack, built: dict[str, Any], production: dict[str, Any]
) -> None:
    assert served_package(stack.names, "production") == built["model_package_arn"]


def test_the_model_in_staging_is_the_champion_until_one_is_in_production(
    stack: Stack, production: dict[str, Any]
) -> None:
    assert production["champion_before"] == {"staging": served_model(stack.names, "staging")}
    assert champion(stack.names) == {"production": served_model(stack.names, "production")}


def test_the_champion_stays_where_the_next_run_is_no_better(built: dict[str, Any], second: dict[str, Any]) -> None:
    assert second["champion"] == {"stage": "production", "loss": pytest.approx(built["model"]["loss"])}
    assert second["model_package_arn"] == ""
    assert second["decision"].startswith("The model in production stays. Rejected: ")
    again = next(entry for entry in second["packages"] if entry["algorithm"] == built["model"]["algorithm"])
    assert "of the model in production" in " ".join(again["reasons"])
    assert again["against_champion"]["p_value"] == 1
    assert package(again["arn"])["CustomerMetadataProperties"]["champion"] == "production"


def test_a_champion_that_stays_gets_a_threshold_of_the_newest_windows(stack: Stack, second: dict[str, Any]) -> None:
    evaluation = read_json(make_run(stack.feed, "r2").uri("evaluation.json"))
    score = evaluation["scores"]["production"]
    assert second["threshold"] == threshold(score["loss"], score["window_losses"])
    assert float(stack.parameter("thresholds", "production")) == pytest.approx(second["threshold"], rel=1e-5)


def test_a_run_whose_model_waits_changes_no_threshold(built: dict[str, Any]) -> None:
    assert built["threshold"] is None


def test_the_champion_is_judged_by_what_it_answers_in_service(stack: Stack, second: dict[str, Any]) -> None:
    evaluation = read_json(make_run(stack.feed, "r2").uri("evaluation.json"))
    for window, forecasted in list(zip(evaluation["windows"], evaluation["forecasts"]["production"], strict=True))[::7]:
        served = forecast(stack.feed, "production", datetime.fromisoformat(window["start"]) - timedelta(minutes=1))
        assert served.quantiles == forecasted


def test_deploying_what_is_served_changes_nothing(stack: Stack, staging: dict[str, Any]) -> None:
    before = client("sagemaker").describe_endpoint(EndpointName=staging["endpoint"])
    deploy(stack.names, "staging", str(served_model(stack.names, "staging")), "r2", "ml.m5.large", WAITING)
    after = client("sagemaker").describe_endpoint(EndpointName=staging["endpoint"])
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert after["LastModifiedTime"] == before["LastModifiedTime"]


def test_a_deployment_that_fails_its_check_is_rolled_back(
    stack: Stack, built: dict[str, Any], staging: dict[str, Any]
) -> None:
    trained = read_json(make_run(stack.feed, "r1").uri("trained.json"))["models"]["empirical"]
    container = {"Image": trained["image"], "ModelDataUrl": trained["model_data"]}
    other = create_model(stack.names, f"{stack.names.prefix}-other", container)
    deploy(stack.names, "staging", other, "r3", "ml.m5.large", WAITING)
    assert served_model(stack.names, "staging") == other
    assert "serves what it served before" in take_back(stack.names, "staging", "r3", "a test", WAITING)
    assert served_package(stack.names, "staging") == built["model_package_arn"]
    assert "another run" in take_back(stack.names, "staging", "r3", "a test", WAITING)
    with pytest.raises(Refused, match="The run r3 was for another model"):
        deploy(stack.names, "staging", f"{stack.names.prefix}-r1-train-empirical-1", "r3", "ml.m5.large", WAITING)
    assert served_package(stack.names, "staging") == built["model_package_arn"]


def test_a_first_deployment_that_is_rolled_back_leaves_no_endpoint(stack: Stack, built: dict[str, Any]) -> None:
    model = f"{stack.names.prefix}-r1-train-empirical-1"
    deploy(stack.names, "trial", model, "r4", "ml.m5.large", WAITING)
    assert "deleted" in take_back(stack.names, "trial", "r4", "a test", WAITING)
    assert served_model(stack.names, "trial") is None


def test_a_result_is_json_that_programs_can_read(stack: Stack, staging: dict[str, Any]) -> None:
    kept = json.loads((stack.output("deploy", "r1") / "result.json").read_text())
    assert kept["stage"] == "staging"
    steps = {"check-approval", "shadow-endpoint", "deploy-endpoint", "check-endpoint", "write-threshold"}
    assert set(kept["durations"]) == steps
