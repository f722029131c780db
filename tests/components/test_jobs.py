"""A step that is started again adopts its job; a failed or stopped job is no success, and its name is used once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.jobs import STEPS, Job, completed, job_name, start, stop_jobs, wait
from components.run import Refused, Run
from loopcast import aws
from loopcast.clock import Clock
from loopcast.feed import parse_feed
from loopcast.names import Names
from tests.components.examples import FEED_TEXT, feed, history
from tests.components.stack import make_run

FEED = parse_feed(FEED_TEXT.replace("name: parcels", "name: parcels-jobs"))
STEP = "train-empirical"
EVERY_JOB = [
    (kind, step, attempt) for kind in ("training", "transform") for step in STEPS[kind] for attempt in range(1, 6)
]


@pytest.fixture(scope="module")
def bucket(aws, sagemaker) -> Names:
    run = make_run(FEED, "any")
    client("s3").create_bucket(Bucket=run.names.bucket)
    body = json.dumps(history(100).to_instance()).encode()
    client("s3").put_object(Bucket=run.names.bucket, Key="train/series.json", Body=body)
    return run.names


def client(service: str) -> Any:
    return aws.client(service)


def request(names: Names, **hyperparameters: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": names.s3("train/")}
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "000000000000.dkr.ecr.us-east-1.amazonaws.com/loopcast-empirical:0.1.0",
            "TrainingInputMode": "File",
        },
        "RoleArn": names.role_arn("sagemaker"),
        "HyperParameters": {"prediction_length": "10", "time_freq": "min", "context_length": "60", **hyperparameters},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": names.s3("models/")},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def outcome(job: Job) -> Any:
    return completed(job, wait([job], 0.1, 60, Clock())[0])


def jobs_of(run: Run) -> list[str]:
    answer = client("sagemaker").list_training_jobs(NameContains=f"{run.names.prefix}-{run.id}-")
    return sorted(item["TrainingJobName"] for item in answer["TrainingJobSummaries"])


def test_a_step_started_again_adopts_its_running_and_its_finished_job(bucket: Names) -> None:
    run = make_run(FEED, "adopts")
    first = start(run, "training", STEP, lambda _: request(bucket))
    assert start(run, "training", STEP, lambda _: request(bucket)) == first
    outcome(first)
    assert start(run, "training", STEP, lambda _: request(bucket)) == first
    assert jobs_of(run) == [first.name]


def test_a_failed_job_is_told_with_its_reason_and_the_next_attempt_is_another_job(bucket: Names) -> None:
    run = make_run(FEED, "fails")
    failed = start(run, "training", STEP, lambda _: request(bucket, nonsense="1"))
    with pytest.raises(Refused, match=r"has failed: .*nonsense"):
        outcome(failed)
    second = start(run, "training", STEP, lambda _: request(bucket))
    assert (failed.name[-2:], second.name[-2:]) == ("-1", "-2")
    outcome(second)
    assert start(run, "training", STEP, lambda _: request(bucket)) == second


def test_a_stopped_job_is_no_success_and_only_a_cancelled_run_stops_its_jobs(bucket: Names) -> None:
    run = make_run(FEED, "stops")
    other = start(make_run(FEED, "goes-on"), "training", STEP, lambda _: request(bucket))
    job = start(run, "training", STEP, lambda _: request(bucket))
    assert stop_jobs(run) == [job.name]
    with pytest.raises(Refused, match="has stopped"):
        outcome(job)
    outcome(other)
    assert start(run, "training", STEP, lambda _: request(bucket)).name.endswith("-2")
    assert len(stop_jobs(run)) == 1


def test_a_wait_is_bounded_and_leaves_the_job_running(bucket: Names) -> None:
    moments = iter(range(0, 10_000, 100))
    clock = Clock(monotonic=lambda: float(next(moments)), sleep=lambda _: None)
    job = start(make_run(FEED, "waits"), "training", STEP, lambda _: request(bucket))
    with pytest.raises(Refused, match=r"still runs after 50 s: start the step again"):
        wait([job], 0.1, 50, clock)
    outcome(job)


@given(
    st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,39}", fullmatch=True).filter(lambda text: len(text) <= 40),
    st.sampled_from(["train-empirical", "backtest-production"]),
    st.integers(1, 5),
)
def test_a_jobs_name_is_valid_and_its_own(identifier: str, step: str, attempt: int) -> None:
    run = Run(feed(), Names("bitcoin-fees", "000000000000"), identifier)
    name = job_name(run, "training", step, attempt)
    assert len(name) <= 63
    assert name.endswith(f"-{step}-{attempt}")
    assert name.startswith("loopcast-bitcoin-fees")
    longer = Run(feed(), run.names, f"{identifier[:38]}-x")
    assert job_name(longer, "training", step, attempt) != name or longer.id == identifier
    assert len(job_name(run, "tuning", step, attempt)) <= 32
    assert job_name(longer, "tuning", step, attempt) != job_name(run, "tuning", step, attempt) or longer.id == run.id


@pytest.mark.parametrize("feed_name", ["abc", "rides-of-a-city-by-hours", "rides-of-a-whole-city-by-the-hour"[:32]])
def test_a_jobs_name_begins_with_the_feeds_as_its_roles_demand_however_long_that_is(feed_name: str) -> None:
    names = Names(feed_name, "000000000000")
    found = set()
    for identifier in ("a" * 40, f"{'a' * 39}b"):
        run = Run(feed(), names, identifier)
        found |= {job_name(run, kind, step, attempt) for kind, step, attempt in EVERY_JOB}
    assert all(name.startswith(f"{names.prefix}-") and len(name) <= 63 for name in found)
    assert len(found) == 2 * len(EVERY_JOB)


@pytest.mark.parametrize("identifier", ["", "-a", "A", "a_b", "a--b", "a" * 41])
def test_an_id_that_names_no_jobs_is_refused(identifier: str) -> None:
    with pytest.raises(Refused, match="can't be a run's id"):
        make_run(feed(), identifier)
