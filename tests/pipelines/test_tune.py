"""Tuning on real jobs: what is found is judged on newer windows than it was found on, and kept if it is better."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from components.run import read
from components.train.hyperparameters import stored
from loopcast.aws import client
from tests.components.stack import make_run
from tests.pipelines.conftest import Stack

FLAGS = ("--algorithm", "boosted", "--jobs", "2", "--parallel", "1")


@pytest.fixture(scope="module")
def stack(make_stack: Callable[[str, int], Stack]) -> Stack:
    return make_stack("tuned", 1)


@pytest.fixture(scope="module")
def tuned(stack: Stack) -> dict[str, Any]:
    return stack.result("tune", "t1", *FLAGS)


def test_the_better_hyperparameters_are_in_ssm_afterwards(stack: Stack, tuned: dict[str, Any]) -> None:
    better = tuned["losses"]["tuned"] < tuned["losses"]["current"]
    assert tuned["kept"] == better
    found = tuned["hyperparameters"]["tuned"]
    assert stored(stack.names, "boosted") == (found if better else {})


def test_the_search_has_not_seen_the_windows_that_judge_it(stack: Stack, tuned: dict[str, Any]) -> None:
    run = make_run(stack.feed, "t1")
    history, split = json.loads(read(run.uri("history.json"))), json.loads(read(run.uri("split.json")))
    for name in ("train", "test"):
        for line in read(run.uri(f"tuning/{name}", "series.json")).splitlines():
            series = json.loads(line)
            assert datetime.fromisoformat(f"{series['start']}+00:00") == datetime.fromisoformat(history["start"])
            assert len(series["target"]) <= split["origins"][0]


def test_each_trial_is_counted_and_tagged(stack: Stack, tuned: dict[str, Any]) -> None:
    sagemaker = client("sagemaker")
    job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuned["search"]["job"])
    assert tuned["search"]["trials"] == job["TrainingJobStatusCounters"]["Completed"] == 2
    tags = sagemaker.list_tags(ResourceArn=job["HyperParameterTuningJobArn"])["Tags"]
    assert {"Key": "loopcast:run", "Value": "t1"} in tags


def test_a_run_started_again_repeats_no_job(stack: Stack, tuned: dict[str, Any]) -> None:
    before = jobs(stack)
    assert stack.result("tune", "t1", *FLAGS)["losses"] == tuned["losses"]
    assert jobs(stack) == before


def test_an_algorithm_without_hyperparameters_to_tune_is_refused(stack: Stack) -> None:
    done = stack.run("tune", "t2", *FLAGS, "--algorithm", "empirical")
    assert done.returncode == 1
    assert "empirical has no hyperparameters to tune" in done.stderr


def jobs(stack: Stack) -> list[str]:
    listed = client("sagemaker").list_training_jobs(NameContains=stack.names.prefix, MaxResults=100)
    return sorted(item["TrainingJobName"] for item in listed["TrainingJobSummaries"])
