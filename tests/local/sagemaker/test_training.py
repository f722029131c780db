"""Training jobs run as they do on AWS."""

from __future__ import annotations

import json
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from loopcast import aws as kernel
from tests.local.sagemaker.conftest import (
    BUCKET,
    STEP_SECONDS,
    channel,
    ended,
    get,
    put,
    saw,
    trained,
    training_job,
    unpacked,
    wait_until,
)


def test_a_program_finds_its_data_and_configuration_where_the_contract_says(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/train/a.json", "1")
    put(f"{name}/train/deep/b.json", "2")
    put(f"{name}/test.json", "3")
    channels = [channel("train", f"s3://{BUCKET}/{name}/train"), channel("test", f"s3://{BUCKET}/{name}/test.json")]
    job = trained(sagemaker_client, name, InputDataConfig=channels, HyperParameters={"epochs": "20"})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    files = saw(job)["files"]
    assert saw(job)["hyperparameters"] == {"epochs": "20"}
    assert files["input/data/train/a.json"] == "1"
    assert files["input/data/train/deep/b.json"] == "2"
    assert files["input/data/test/test.json"] == "3"
    assert json.loads(files["input/config/inputdataconfig.json"])["train"]["TrainingInputMode"] == "File"
    assert json.loads(files["input/config/resourceconfig.json"])["hosts"] == ["algo-1"]


def test_a_program_gets_the_variables_of_the_contract(sagemaker_client: Any, name: str) -> None:
    uri = put(f"{name}/x.json", "1")
    job = trained(
        sagemaker_client,
        name,
        InputDataConfig=[channel("train", uri)],
        HyperParameters={"learning-rate": "0.1"},
        Environment={"COLOUR": "blue"},
    )
    variables = saw(job)["environment"]
    base = variables["SAGEMAKER_BASE_DIR"]
    assert variables["TRAINING_JOB_NAME"] == name
    assert variables["TRAINING_JOB_ARN"] == job["TrainingJobArn"]
    assert variables["SM_CHANNEL_TRAIN"] == f"{base}/input/data/train"
    assert variables["SM_MODEL_DIR"] == f"{base}/model"
    assert variables["SM_HP_LEARNING_RATE"] == "0.1"
    assert variables["COLOUR"] == "blue"


def test_a_manifest_names_the_objects_of_a_channel(sagemaker_client: Any, name: str) -> None:
    put(f"{name}/data/one.json", "1")
    put(f"{name}/data/two.json", "2")
    manifest = put(f"{name}/manifest", json.dumps([{"prefix": f"s3://{BUCKET}/{name}/data/"}, "two.json"]))
    job = trained(sagemaker_client, name, InputDataConfig=[channel("train", manifest, "ManifestFile")])
    files = saw(job)["files"]
    assert [path for path in files if path.startswith("input/data")] == ["input/data/train/two.json"]


def test_a_job_tells_its_states_in_order_with_their_times(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name)
    transitions = job["SecondaryStatusTransitions"]
    assert [t["Status"] for t in transitions] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    times = [moment for t in transitions for moment in (t["StartTime"], t["EndTime"])]
    assert times == sorted(times)
    lengths = {t["Status"]: (t["EndTime"] - t["StartTime"]).total_seconds() for t in transitions}
    assert all(lengths[status] >= STEP_SECONDS - 0.001 for status in ("Starting", "Downloading", "Uploading"))
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"] <= job["LastModifiedTime"]
    assert job["BillableTimeInSeconds"] >= 1


def test_a_failure_file_is_the_reason_of_the_failure(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, HyperParameters={"do": "fail"})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: the data is bad, exit code: 1"


def test_a_failure_file_that_names_the_fault_itself_is_taken_as_it_is(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, HyperParameters={"do": "refuse"})
    assert job["FailureReason"] == "ClientError: epochs must be positive, exit code: 2"


def test_what_a_program_leaves_beside_its_model_becomes_output_tar_gz(sagemaker_client: Any, name: str) -> None:
    trained(sagemaker_client, name, HyperParameters={"do": "leave-output"})
    assert unpacked(f"s3://{BUCKET}/models/{name}/output/output.tar.gz") == {"report.txt": b"as it went"}


def test_a_job_goes_on_from_its_checkpoints(sagemaker_client: Any, name: str) -> None:
    checkpoints = {"S3Uri": f"s3://{BUCKET}/{name}/checkpoints"}
    for attempt in ("a", "b"):
        trained(
            sagemaker_client, f"{name}-{attempt}", HyperParameters={"do": "checkpoint"}, CheckpointConfig=checkpoints
        )
    assert get(f"{checkpoints['S3Uri']}/steps.txt") == b"a step\na step\n"


def test_metrics_are_the_last_values_in_the_log(sagemaker_client: Any, name: str) -> None:
    job = trained(
        sagemaker_client,
        name,
        AlgorithmSpecification=training_job(name)["AlgorithmSpecification"]
        | {"MetricDefinitions": [{"Name": "epoch", "Regex": "epoch=(\\d+)"}, {"Name": "none", "Regex": "no=(.)"}]},
    )
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics == {"epoch": 1.0, "tiny:loss": 0.25}


def test_a_program_that_says_nothing_completes(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, HyperParameters={"do": "say-nothing"})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "FinalMetricDataList" not in job


def test_the_log_is_in_cloudwatch(sagemaker_client: Any, name: str) -> None:
    trained(sagemaker_client, name)
    assert _says(name) == ["epoch=0 loss=2.5", "epoch=1 loss=0.25"]


def test_an_unknown_image_fails_the_job_and_names_the_known_ones(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, AlgorithmSpecification={"TrainingImage": "x:1", "TrainingInputMode": "File"})
    assert job["TrainingJobStatus"] == "Failed"
    assert "known are: *tiny:*" in job["FailureReason"]


def test_a_missing_environment_fails_the_job_and_says_how_to_make_it(sagemaker_client: Any, name: str) -> None:
    specification = {"TrainingImage": "no-environment:1", "TrainingInputMode": "File"}
    job = trained(sagemaker_client, name, AlgorithmSpecification=specification)
    assert "run make .venv/nowhere/ready" in job["FailureReason"]


def test_missing_data_fails_the_job(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, InputDataConfig=[channel("train", f"s3://{BUCKET}/{name}/nothing")])
    assert job["FailureReason"].startswith("ClientError: No S3 objects found under S3 URL")


def test_a_stopped_job_leaves_its_model(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_training_job(**training_job(name, HyperParameters={"do": "sleep"}))
    wait_until(lambda: _says(name))
    sagemaker_client.stop_training_job(TrainingJobName=name)
    job = ended(sagemaker_client, "training", name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert saw(job)["hyperparameters"] == {"do": "sleep"}


def test_a_stopped_job_leaves_no_process(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_training_job(**training_job(name, HyperParameters={"do": "sleep"}))
    wait_until(lambda: _processes_of(name))
    wait_until(lambda: sagemaker_client.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Training")
    sagemaker_client.stop_training_job(TrainingJobName=name)
    job = ended(sagemaker_client, "training", name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [t["Status"] for t in job["SecondaryStatusTransitions"]][-2:] == ["Stopping", "Stopped"]
    assert not _processes_of(name)


def test_a_program_that_ignores_sigterm_is_killed(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_training_job(**training_job(name, HyperParameters={"do": "ignore-sigterm"}))
    wait_until(lambda: _processes_of(name))
    sagemaker_client.stop_training_job(TrainingJobName=name)
    assert ended(sagemaker_client, "training", name)["TrainingJobStatus"] == "Stopped"
    assert not _processes_of(name)


def test_a_job_that_runs_too_long_is_stopped(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, HyperParameters={"do": "sleep"}, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert not _processes_of(name)


def test_what_a_program_leaves_running_is_ended_with_it(sagemaker_client: Any, name: str) -> None:
    assert trained(sagemaker_client, name, HyperParameters={"do": "leave-child"})["TrainingJobStatus"] == "Completed"
    assert not _processes_of(name)


def test_a_name_can_be_used_once(sagemaker_client: Any, name: str) -> None:
    trained(sagemaker_client, name)
    with pytest.raises(ClientError, match="must be unique") as error:
        sagemaker_client.create_training_job(**training_job(name))
    assert error.value.response["Error"]["Code"] == "ResourceInUse"


def test_an_ended_job_can_not_be_stopped(sagemaker_client: Any, name: str) -> None:
    trained(sagemaker_client, name)
    with pytest.raises(ClientError, match="training job is in status Completed"):
        sagemaker_client.stop_training_job(TrainingJobName=name)


def test_jobs_run_side_by_side(sagemaker_client: Any, name: str, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    names = [f"{name}-{number}" for number in range(3)]
    for one in names:
        request = training_job(one, HyperParameters={"do": "wait-for-file"}, Environment={"WAIT_FOR": str(gate)})
        sagemaker_client.create_training_job(**request)
    wait_until(lambda: all(_processes_of(one) for one in names))
    gate.touch()
    assert [ended(sagemaker_client, "training", one)["TrainingJobStatus"] for one in names] == ["Completed"] * 3


def _says(name: str) -> list[str]:
    """The job's log in CloudWatch."""
    logs = kernel.client("logs")
    streams = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": f"{name}/algo-1"}
    try:
        return [event["message"] for event in logs.get_log_events(**streams)["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def _processes_of(name: str) -> list[int]:
    """The processes that run for the job."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TRAINING_JOB_NAME") == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def resources(count: int) -> dict[str, Any]:
    return {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 10}


def test_the_hosts_of_a_job_find_each_other_by_name(sagemaker_client: Any, name: str) -> None:
    uri = put(f"{name}/x.json", "1")
    job = trained(
        sagemaker_client,
        name,
        ResourceConfig=resources(2),
        InputDataConfig=[channel("train", uri)],
        HyperParameters={"do": "meet"},
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    model = unpacked(job["ModelArtifacts"]["S3ModelArtifacts"])
    assert (model["algo-1.txt"], model["algo-2.txt"]) == (b"algo-2", b"algo-2")
    files = saw(job)["files"]
    assert json.loads(files["input/config/resourceconfig.json"])["hosts"] == ["algo-1", "algo-2"]
    assert json.loads(saw(job)["environment"]["SM_HOSTS"]) == ["algo-1", "algo-2"]
    assert files["input/data/train/x.json"] == "1"


def test_jobs_of_several_hosts_that_run_at_the_same_time_have_a_meeting_port_each(
    sagemaker_client: Any, name: str
) -> None:
    jobs = [f"{name}-{number}" for number in range(2)]
    for job in jobs:
        sagemaker_client.create_training_job(**training_job(job, ResourceConfig=resources(2)))
    ports = [saw(ended(sagemaker_client, "training", job))["environment"]["MASTER_PORT"] for job in jobs]
    assert ports[0] != ports[1]


def test_a_host_that_fails_fails_the_job_and_stops_the_others(sagemaker_client: Any, name: str) -> None:
    job = trained(sagemaker_client, name, ResourceConfig=resources(2), HyperParameters={"do": "fail-on-second"})
    assert job["FailureReason"] == "ClientError: the second is bad, exit code: 3"
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if name in " ".join(process.info["cmdline"] or [])
    ]


def test_a_stopped_job_leaves_no_host(sagemaker_client: Any, name: str) -> None:
    sagemaker_client.create_training_job(
        **training_job(name, ResourceConfig=resources(2), HyperParameters={"do": "sleep"})
    )
    wait_until(lambda: sagemaker_client.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Training")
    sagemaker_client.stop_training_job(TrainingJobName=name)
    assert ended(sagemaker_client, "training", name)["TrainingJobStatus"] == "Stopped"
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if name in " ".join(process.info["cmdline"] or [])
    ]


def test_more_instances_than_this_machine_can_be_are_refused(sagemaker_client: Any, name: str) -> None:
    with pytest.raises(ClientError, match="is 4, in one group"):
        sagemaker_client.create_training_job(**training_job(name, ResourceConfig=resources(5)))
