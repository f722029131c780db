"""Forecasts are judged by the minutes that came, each stage on its own endpoint: known models and known minutes, in a
real feature store, behind real endpoints, must come out as the exact numbers."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from kfp.dsl import Metrics

from components.monitor.state import State, read_state, take
from components.monitor_collect.collect import collect
from components.monitor_collect.component import collect_predictions
from components.monitor_constraints.check import Settings, check, remove
from components.monitor_constraints.images import analyzer_image
from components.monitor_measure.component import measure as measure_step
from components.monitor_measure.measure import measure
from components.run import Refused, Run, read_json, write_json
from loopcast import aws as clients
from loopcast.clock import Clock
from loopcast.feed import parse_feed
from loopcast.minute import WINDOW, Minute, iso_minute
from tests.components.examples import FEED_TEXT
from tests.components.stack import make_resources, make_run, put, until
from tests.conftest import Service, environment, free_port, running
from tests.pipelines.conftest import Stack

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/known:1"
IMAGES = f"""
images:
  - pattern: "*/known:*"
    python: {sys.executable}
    module: tests.pipelines.known_model
  - pattern: "*/sagemaker-model-monitor-analyzer*"
    python: {sys.executable}
    module: local.sagemaker.analyzer
"""
TRAINED, CAME, HOLE, STEPS = 120, 147, 133, 10
"""Minutes that the models were trained on, minutes that came, one that did not, and the horizon."""
SHIFTS = {"staging": 10.0, "production": -30.0}
SPREAD = 5.0
LIMIT = 0.02
FAST = Clock(1e9)
"""At this speed whatever came after the training data came after the model was in service."""


@dataclass(frozen=True)
class Known:
    """A feed whose minute i has the value 1000 + i, from `start` on."""

    stack: Stack
    start: datetime

    def moment(self, index: int) -> datetime:
        return self.start + index * WINDOW

    def put(self, indices: Sequence[int]) -> None:
        feed = self.stack.feed
        metrics = [{"parcel_count": 4, "average_weight": value(index)} for index in indices]
        minutes = [Minute(feed.name, self.moment(i), 0, known) for i, known in zip(indices, metrics, strict=True)]
        put(self.stack.names, minutes)

    def run(self, identifier: str) -> Run:
        return make_run(self.stack.feed, identifier)


def value(index: int) -> float:
    return 1000.0 + index


@pytest.fixture(scope="module")
def server(aws: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A SageMaker of this module's own, which knows the images above."""
    folder, endpoint = tmp_path_factory.mktemp("known"), f"http://127.0.0.1:{free_port()}"
    (folder / "images.yaml").write_text(IMAGES)
    parts = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "SAGEMAKER_FEATURESTORE_RUNTIME")
    settings = {f"AWS_ENDPOINT_URL_{part}": endpoint for part in parts} | {"LOOPCAST_SPEED": str(FAST.speed)}
    flags = ("--images", str(folder / "images.yaml"), "--step-seconds", "0.02")
    with environment(settings), running("local.sagemaker", endpoint, folder, *flags):
        yield


@pytest.fixture(scope="module")
def known(server: None, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The feed with its minutes, and a model of a package of its own behind the endpoint of each stage."""
    folder = tmp_path_factory.mktemp("watched")
    file = folder / "feed.yaml"
    file.write_text(FEED_TEXT.replace("name: parcels", "name: watched"))
    feed = parse_feed(file.read_text())
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
    made = Known(Stack(feed, make_resources(feed), file, folder), start)
    made.put([index for index in range(CAME) if index != HOLE])
    for stage, shift in SHIFTS.items():
        deploy(made, stage, package(made, stage, SHIFT=str(shift), SPREAD=str(SPREAD)))
    made.stack.set_parameter(str(LIMIT), "thresholds", "staging")
    return made


def package(made: Known, name: str, *, older: bool = False, **variables: str) -> str:
    """A model package as a build registers it: with its metrics' files, and where its training data ends.

    An `older` one has no training baseline.
    """
    folder = made.stack.names.s3(f"models/{name}")
    limit = {"threshold": 12.0, "comparison_operator": "GreaterThanThreshold"}
    shares = {"edges": [value(TRAINED * tenth // 10) for tenth in range(1, 10)], "shares": [0.1] * 10}
    metrics = {"parcel_count": {"mean": 8.0, "edges": [4.0] * 9, "shares": [0.0] * 9 + [1.0]}, "average_weight": shares}
    metrics["average_weight"]["mean"] = value(TRAINED // 2)
    write_json(f"{folder}/statistics.json", {})
    write_json(f"{folder}/constraints.json", {"version": 0.0, "regression_constraints": {"rmse": limit}})
    write_json(f"{folder}/baseline.json", {"minutes": TRAINED, "missing": 0.0, "metrics": metrics})
    files = {kind: {"ContentType": "application/json", "S3Uri": f"{folder}/{kind}.json"} for kind in KINDS}
    quality = {"ModelQuality": {"Statistics": files["statistics"], "Constraints": files["constraints"]}}
    data = {} if older else {"ModelDataQuality": {"Statistics": files["baseline"]}}
    container = {"Image": IMAGE, "Environment": variables}
    answer = clients.client("sagemaker").create_model_package(
        ModelPackageGroupName=made.stack.names.model_package_group,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        ModelMetrics={**quality, **data},
        CustomerMetadataProperties={"data_end": iso_minute(made.moment(TRAINED))},
    )
    return str(answer["ModelPackageArn"])


KINDS = ("statistics", "constraints", "baseline")


def deploy(made: Known, stage: str, arn: str) -> None:
    """Puts the package behind the stage's endpoint, with data capture."""
    sagemaker, names = clients.client("sagemaker"), made.stack.names
    endpoint, name = names.endpoint(stage), f"{names.endpoint(stage)}-{arn.rpartition('/')[2]}"
    role = names.role_arn("sagemaker")
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"ModelPackageName": arn})
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{**variant, "InitialInstanceCount": 1, "InitialVariantWeight": 1.0}],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": names.s3("capture"),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
    )
    listed = sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"]
    (sagemaker.update_endpoint if listed else sagemaker.create_endpoint)(EndpointName=endpoint, EndpointConfigName=name)
    until(lambda: sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService")


def expected_loss(origins: Sequence[int], shift: float, spread: float = SPREAD) -> float:
    """The mean weighted quantile loss of a known model over windows of known minutes, written out."""
    minutes = judged(origins)
    losses = []
    for quantile, offset in ((0.1, -spread), (0.5, 0.0), (0.9, spread)):
        errors = [value(i) - (value(origin - 1) + shift + offset) for origin, i in minutes]
        pinball = sum(error * quantile if error > 0 else error * (quantile - 1) for error in errors)
        losses.append(2 * pinball / sum(value(i) for _, i in minutes))
    return sum(losses) / len(losses)


def judged(origins: Sequence[int]) -> list[tuple[int, int]]:
    """Each minute that came, after the origin of its window."""
    return [(origin, i) for origin in origins for i in range(origin, origin + STEPS) if i != HOLE]


@pytest.fixture(scope="module")
def production(known: Known, staging: dict[str, Any]) -> dict[str, Any]:
    """What production's first run comes to, without the built-in job."""
    return monitored(known, "production", "p1")


@pytest.fixture(scope="module")
def staging(known: Known) -> dict[str, Any]:
    """What the pipeline's first run of staging comes to."""
    return known.stack.result("monitor", "m1", "--stage", "staging")


def test_the_held_out_minutes_are_the_ground_truth_and_nothing_else_is(known: Known, staging: dict[str, Any]) -> None:
    assert (staging["start"], staging["end"]) == (iso_minute(known.moment(120)), iso_minute(known.moment(140)))
    assert (staging["windows"], staging["judged"]) == (2, 2)
    assert staging["loss"] == pytest.approx(expected_loss([120, 130], SHIFTS["staging"]))
    assert staging["ratio"] == pytest.approx(staging["loss"] / LIMIT)
    minutes = judged([120, 130])
    errors = [value(origin - 1) + SHIFTS["staging"] - value(i) for origin, i in minutes]
    assert staging["bias"] == pytest.approx(sum(errors) / sum(value(i) for _, i in minutes))
    assert staging["coverage"] == pytest.approx(sum(abs(error) <= SPREAD for error in errors) / len(errors))


def test_production_is_judged_on_its_own_endpoint(known: Known, production: dict[str, Any]) -> None:
    record = production
    assert record["loss"] == pytest.approx(expected_loss([120, 130], SHIFTS["production"]))
    assert (record["endpoint"], record["model_version"]) == ("loopcast-watched-production", "2")
    assert record["ratio"] is None  # no deployment has written its threshold yet
    captured = read_lines(known, f"capture/loopcast-watched-production/AllTraffic/{known.moment(120):%Y/%m/%d/%H}/2-")
    medians = {line["captureData"]["endpointOutput"]["data"] for line in captured}
    assert medians == {str(value(119) + SHIFTS["production"]), str(value(129) + SHIFTS["production"])}


def test_a_forecast_and_its_ground_truth_bear_the_same_id_a_minute(known: Known, staging: dict[str, Any]) -> None:
    hour = f"{known.moment(120):%Y/%m/%d/%H}/"
    captured = read_lines(known, f"capture/loopcast-watched-staging/AllTraffic/{hour}1-")
    truths = read_lines(known, f"monitoring/staging/ground-truth/1/loopcast-watched-staging/{hour}")
    came = {
        f"loopcast-watched-staging-1-{known.moment(index):%Y%m%dT%H%MZ}": str(value(index))
        for index in range(120, 140)
        if index != HOLE
    }
    assert {line["eventMetadata"]["eventId"]: line["groundTruthData"]["data"] for line in truths} == came
    assert sorted(line["eventMetadata"]["eventId"] for line in captured) == sorted(came)


def test_the_built_in_job_merges_the_same_minutes_and_checks_the_models_constraints(
    known: Known, staging: dict[str, Any]
) -> None:
    minutes = judged([120, 130])
    squares = [(value(origin - 1) + SHIFTS["staging"] - value(i)) ** 2 for origin, i in minutes]
    found = staging["model_quality"]
    assert found["errors"]["rmse"] == pytest.approx((sum(squares) / len(squares)) ** 0.5)
    assert found["status"] == "Completed"
    assert found["violations"] == []
    assert found["errors"]["rmse"] == pytest.approx(staging["rmse"])
    assert schedules() == []


def test_a_model_worse_than_its_constraints_violates_them_also_when_the_step_is_started_again(
    known: Known, production: dict[str, Any]
) -> None:
    settings, run = Settings(analyzer_image(clients.region()), "ml.m5.large", 60, 0.1), known.run("p1")
    with pytest.raises(Refused, match="still runs after 60 s: start the run again"):
        check(run, "production", production, settings, hurried())
    found = check(run, "production", production, settings, Clock())["model_quality"]
    assert found["status"] == "CompletedWithViolations"
    assert [violation["metric_name"] for violation in found["violations"]] == ["rmse"]
    assert found["errors"]["rmse"] == pytest.approx(production["rmse"])


def hurried() -> Clock:
    """A clock by which every wait is too long."""
    return Clock(monotonic=count(0, 1000).__next__)


def test_a_cancelled_run_leaves_no_schedule(known: Known, production: dict[str, Any]) -> None:
    settings, run = Settings(analyzer_image(clients.region()), "ml.m5.large", 60, 0.1), known.run("x1")
    with pytest.raises(Refused):
        check(run, "production", production, settings, hurried())
    assert schedules()
    for stage in SHIFTS:
        remove(run, stage)
    assert not schedules()


def schedules() -> list[str]:
    """The names of schedules and of definitions of their jobs that are there."""
    sagemaker = clients.client("sagemaker")
    found = sagemaker.list_monitoring_schedules()["MonitoringScheduleSummaries"]
    defined = sagemaker.list_model_quality_job_definitions()["JobDefinitionSummaries"]
    return [item["MonitoringScheduleName"] for item in found] + [
        item["MonitoringJobDefinitionName"] for item in defined
    ]


def test_data_is_compared_with_the_training_baseline(staging: dict[str, Any]) -> None:
    assert staging["missing"] == pytest.approx(1 / 20)
    assert staging["volume"] == 0.5
    assert staging["drift_of"] == "average_weight"
    assert 0 < staging["drift"] < 0.5


def test_metrics_and_a_record_of_history_say_the_same(known: Known, staging: dict[str, Any]) -> None:
    history = read_json(known.stack.names.s3(f"monitoring/staging/history/{known.moment(140):%Y%m%dT%H%M%SZ}.json"))
    assert history == {key: item for key, item in staging.items() if key not in {"model_quality", "durations"}}
    stage = {"Feed": "watched", "Stage": "staging"}
    assert average("QuantileLoss", **stage) == pytest.approx(staging["loss"])
    assert average("QuantileLossRatio", **stage) == pytest.approx(staging["ratio"])
    assert average("MissingMinutes", **stage) == pytest.approx(1 / 20)
    assert average("Bias", **stage, ModelVersion="1") == pytest.approx(staging["bias"])
    assert average("Coverage", **stage, HorizonBucket="1-10") == pytest.approx(staging["coverage"])


def test_a_run_started_again_judges_the_same_windows_and_another_finds_nothing(
    known: Known, staging: dict[str, Any]
) -> None:
    before = keys(known, "")
    again = by_steps(known, "m1", "staging")
    assert again == {key: item for key, item in staging.items() if key not in {"model_quality", "durations"}}
    nothing = by_steps(known, "m2", "staging")
    assert nothing["windows"] == 0
    assert nothing["message"].startswith(f"No window has closed since {iso_minute(known.moment(140))}")
    # The endpoints write what they captured before when their buffers are full or old: at any time.
    assert {key for key in keys(known, "") - before if not key.startswith(("runs/", "capture/"))} == set()


def by_steps(known: Known, identifier: str, stage: str) -> dict[str, Any]:
    """The result of the run's steps, without the built-in job, started in this process."""
    feed = known.stack.file.read_text()
    collected = collect_predictions.python_func(feed, identifier, stage)
    return dict(read_json(measure_step.python_func(feed, identifier, stage, collected, Metrics())))


def test_a_model_is_judged_only_from_its_coming_into_service_on(known: Known, staging: dict[str, Any]) -> None:
    deploy(known, "trial", package(known, "trial", SHIFT="0"))
    collected = collect(known.run("t1"), "trial", Clock())
    assert isinstance(collected, str)
    assert collected.startswith("No window has closed since")


def test_a_run_says_what_is_wrong_with_an_endpoint(known: Known) -> None:
    with pytest.raises(Refused, match="There is no endpoint loopcast-watched-absent: deploy a model to absent first"):
        collect(known.run("a1"), "absent", FAST)
    deploy(known, "broken", package(known, "broken", SHIFT="0", BROKEN="1"))
    with pytest.raises(Refused, match="The endpoint loopcast-watched-broken did not answer: Received server error"):
        collect(known.run("b1"), "broken", FAST)
    assert read_state(known.run("b1"), "broken") is None


def test_of_two_runs_at_once_one_counts_and_a_missed_run_is_caught_up(known: Known, staging: dict[str, Any]) -> None:
    known.put(range(CAME, 171))
    runs = [known.run(name) for name in ("c1", "c2")]
    one, other = (collect(run, "staging", FAST) for run in runs)
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    now = datetime.now(UTC)
    first = measure(runs[0], "staging", one, now)
    assert first["loss"] == pytest.approx(expected_loss([140, 150, 160], SHIFTS["staging"]))
    assert (first["start"], first["windows"]) == (staging["end"], 3)
    late = measure(runs[1], "staging", other, now)
    assert late["windows"] == 0
    assert late["message"].startswith("Another run has judged")
    assert measure(runs[0], "staging", one, now + timedelta(seconds=9)) == first
    state = read_state(runs[0], "staging")
    assert state is not None
    assert (state.judged_until, state.run_id) == (first["end"], "c1")


def test_a_change_of_the_endpoint_that_leaves_its_model_loses_no_window(known: Known, staging: dict[str, Any]) -> None:
    known.put(range(CAME, 181))
    run = known.run("e1")
    before, after = (collect(run, "staging", clock) for clock in (FAST, Clock()))
    assert not isinstance(before, str)
    assert not isinstance(after, str)  # in real time the endpoint came into service long after these windows
    assert after.start == before.start


def test_of_two_first_runs_one_takes_the_windows(known: Known) -> None:
    runs = [known.run(name) for name in ("d1", "d2")]
    taken = [take(run, "double", None, State("2026-11-21T10:00:00Z", "1", run.id, "")) for run in runs]
    assert [state.run_id if state else None for state in taken] == ["d1", None]


def test_a_new_version_begins_a_record_of_its_own(known: Known, staging: dict[str, Any]) -> None:
    known.put(range(CAME, 181))
    arn = package(known, "next", older=True, SHIFT="0", SPREAD="0")
    deploy(known, "staging", arn)
    record = monitored(known, "staging", "n1")
    version = arn.rpartition("/")[2]
    assert (record["model_version"], record["model_package_arn"]) == (version, arn)
    first, end = ((datetime.fromisoformat(record[key]) - known.start) // WINDOW for key in ("start", "end"))
    assert end == 180
    assert record["loss"] == pytest.approx(expected_loss(range(first, end, STEPS), 0.0, 0.0))
    assert (record["volume"], record["drift"]) == (None, None)
    assert read_lines(known, f"monitoring/staging/ground-truth/{version}/")


def monitored(known: Known, stage: str, identifier: str) -> dict[str, Any]:
    """The record of a run of the steps that every run has."""
    run = known.run(identifier)
    collected = collect(run, stage, FAST)
    assert not isinstance(collected, str), collected
    return measure(run, stage, collected, datetime.now(UTC))


def keys(known: Known, prefix: str) -> set[str]:
    pages = clients.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=known.stack.names.bucket, Prefix=prefix)
    return {item["Key"] for page in found for item in page.get("Contents", [])}


def read_lines(known: Known, prefix: str) -> list[dict[str, Any]]:
    """The records in the JSON Lines below `prefix`."""
    s3, bucket = clients.client("s3"), known.stack.names.bucket
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys(known, prefix))]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def average(metric: str, **dimensions: str) -> float:
    """The average of all that was put of a metric in this hour."""
    now = datetime.now(UTC)
    found = clients.client("cloudwatch").get_metric_statistics(
        Namespace="Loopcast",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": text} for name, text in dimensions.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=86400,
        Statistics=["Average"],
    )
    (point,) = found["Datapoints"]
    return float(point["Average"])


def test_what_a_run_that_was_killed_had_taken_is_reported_by_the_next(
    known: Known, staging: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(known, "killed", package(known, "killed", SHIFT="0"))
    known.put(range(CAME, 201))
    with monkeypatch.context() as killed:
        killed.setattr("components.monitor.cloudwatch.put", interrupt)
        with pytest.raises(KeyboardInterrupt):
            by_steps(known, "k1", "killed")
    state = read_state(known.run("k1"), "killed")
    assert state is not None
    history = "monitoring/killed/history/"
    assert keys(known, history) == set()
    known.put(range(201, 211))
    assert by_steps(known, "k2", "killed")["windows"] == 1
    assert len(keys(known, history)) == 2
    [first] = [key for key in keys(known, history) if f"{state.until:%Y%m%dT%H%M%SZ}" in key]
    record = read_json(known.stack.names.s3(first))
    assert (record["run_id"], record["measured_at"]) == ("k1", state.at)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
