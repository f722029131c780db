"""Tuning jobs run as they do on AWS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import free_port, kill
from tests.local.sagemaker.conftest import client, training_job, wait_until

RANGES = {"ContinuousParameterRanges": [{"Name": "offset", "MinValue": "0", "MaxValue": "1"}]}


def tuning_job(name: str, jobs: int = 4, parallel: int = 2, **changes: Any) -> dict[str, Any]:
    """A request for CreateHyperParameterTuningJob."""
    definition = {key: value for key, value in training_job(name).items() if key != "TrainingJobName"}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "tiny:loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": RANGES,
            "RandomSeed": 5,
            **changes.pop("config", {}),
        },
        "TrainingJobDefinition": {**definition, "StaticHyperParameters": changes.pop("static", {"do": "objective"})},
        **changes,
    }


def over(sagemaker: Any, name: str) -> dict[str, Any]:
    """What Describe answers once the tuning job has ended."""

    def look() -> dict[str, Any] | None:
        described = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return described if described["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return wait_until(look)


def trials(sagemaker: Any, name: str, **filters: Any) -> list[dict[str, Any]]:
    return sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, **filters)[
        "TrainingJobSummaries"
    ]


def test_a_tuning_job_trains_and_remembers_the_best(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name))
    job = over(sagemaker_client, name)
    assert job["HyperParameterTuningJobStatus"] == "Completed", job.get("FailureReason")
    tried = trials(sagemaker_client, name)
    losses = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in tried]
    assert losses == pytest.approx([float(trial["TunedHyperParameters"]["offset"]) for trial in tried])
    assert len(tried) == len(set(losses)) == 4
    assert job["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(losses)
    assert job["TrainingJobStatusCounters"]["Completed"] == job["ObjectiveStatusCounters"]["Succeeded"] == 4


def test_its_training_jobs_are_ordinary_ones(sagemaker_client: Any, name: str) -> None:
    arn = sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, jobs=1))["HyperParameterTuningJobArn"]
    best = over(sagemaker_client, name)["BestTrainingJob"]
    trained = sagemaker_client.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert trained["TuningJobArn"] == arn
    assert best["TrainingJobName"].startswith(f"{name}-001-")
    assert trained["HyperParameters"] == {
        "do": "objective",
        **best["TunedHyperParameters"],
        "_tuning_objective_metric": "tiny:loss",
    }


def test_a_failed_training_job_does_not_end_the_search(sagemaker_client: Any, name: str) -> None:
    half = {"CategoricalParameterRanges": [{"Name": "do", "Values": ["fail", "succeed"]}]}
    request = tuning_job(name, jobs=2, static={}, config={"Strategy": "Grid", "ParameterRanges": half})
    sagemaker_client.create_hyper_parameter_tuning_job(**request)
    job = over(sagemaker_client, name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"do": "succeed"}


def test_a_search_without_one_success_fails(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, jobs=1, static={"do": "fail"}))
    job = over(sagemaker_client, name)
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert "No training job succeeded" in job["FailureReason"]


def test_a_reached_target_ends_the_search(sagemaker_client: Any, name: str) -> None:
    enough = {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 5.0}}
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, jobs=50, parallel=1, config=enough))
    over(sagemaker_client, name)
    assert len(trials(sagemaker_client, name)) == 1


def test_a_stopped_search_stops_its_training_jobs(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, static={"do": "sleep"}))
    wait_until(lambda: len(trials(sagemaker_client, name)) == 2)
    sagemaker_client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert over(sagemaker_client, name)["HyperParameterTuningJobStatus"] == "Stopped"
    assert {trial["TrainingJobStatus"] for trial in trials(sagemaker_client, name)} == {"Stopped"}


def test_searches_are_listed_by_name_and_status(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, jobs=1))
    over(sagemaker_client, name)
    listed = sagemaker_client.list_hyper_parameter_tuning_jobs(NameContains=name, StatusEquals="Completed")
    (summary,) = listed["HyperParameterTuningJobSummaries"]
    assert (summary["HyperParameterTuningJobName"], summary["Strategy"]) == (name, "Random")
    assert summary["ObjectiveStatusCounters"]["Succeeded"] == summary["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 1
    assert not sagemaker_client.list_hyper_parameter_tuning_jobs(NameContains=name, StatusEquals="InProgress")[
        "HyperParameterTuningJobSummaries"
    ]


def test_trials_are_listed_by_their_objective(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name))
    over(sagemaker_client, name)
    listed = trials(sagemaker_client, name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    losses = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in listed]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": {"TrainingJobEarlyStoppingType": "Auto"}}, "stops no trial early"),
        ({"config": {"Strategy": "Hyperband"}}, "Hyperband"),
        ({"config": {"ParameterRanges": {}}}, "at least one hyperparameter"),
        ({"Autotune": {"Mode": "Enabled"}}, "Autotune"),
        (
            {"config": {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "nobody:knows"}}},
            "Provide a metric in the metric definitions",
        ),
    ],
)
def test_what_can_not_be_searched_here_is_refused(
    sagemaker_client: Any, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClientError, match=said):
        sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, **changes))


def test_after_kill_9_the_search_goes_on_without_repeating_a_trial(
    own_server: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    endpoint, gate = f"http://127.0.0.1:{free_port()}", tmp_path / "gate"
    request = tuning_job(name, jobs=3, parallel=1, static={"do": "wait-for-file"})
    request["TrainingJobDefinition"]["Environment"] = {"WAIT_FOR": str(gate)}
    with own_server(endpoint) as server:
        client(endpoint, "sagemaker").create_hyper_parameter_tuning_job(**request)
        wait_until(lambda: trials(client(endpoint, "sagemaker"), name))
        kill(server)
    gate.touch()
    with own_server(endpoint):
        job = over(client(endpoint, "sagemaker"), name)
        tried = trials(client(endpoint, "sagemaker"), name)
    assert job["TrainingJobStatusCounters"]["Completed"] == 3
    assert len({trial["TunedHyperParameters"]["offset"] for trial in tried}) == 3


def test_only_an_ended_search_can_be_deleted(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_hyper_parameter_tuning_job(**tuning_job(name, jobs=1))
    over(sagemaker_client, name)
    sagemaker_client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(ClientError, match="can't find"):
        sagemaker_client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
