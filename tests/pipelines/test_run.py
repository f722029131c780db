"""A run that can't go on says why in one sentence, and a cancelled run leaves no job and no process."""

import json
import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest

from loopcast.aws import client
from pipelines.run import summary
from tests.components.stack import until
from tests.pipelines.conftest import CHECKOUT, Stack


def test_a_step_that_fails_ends_the_run_with_its_cause(make_stack: Callable[[str, int], Stack]) -> None:
    stack = make_stack("parcels-short", 1)
    done = stack.run("build", "r1", "--windows", "40", "--stride", "10")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("loopcast: The step hold-out failed: The history is too short: 40 windows of 10 minutes")
    assert "read-features: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_feed_that_is_wrong_is_named_with_its_line(make_stack: Callable[[str, int], Stack], tmp_path) -> None:
    broken = tmp_path / "feed.yaml"
    broken.write_text("name: x\n")
    stack = Stack(None, None, broken, tmp_path)  # type: ignore[arg-type]
    done = stack.run("build", "r1")
    assert done.returncode == 1
    assert f"{broken}:1: " in done.stderr


def test_a_cancelled_run_stops_its_jobs_and_its_processes(make_stack: Callable[[str, int], Stack]) -> None:
    stack = make_stack("parcels-slow", 100_000)
    job = f"{stack.names.prefix}-r1-train-deepar-1"
    process = subprocess.Popen(stack.command("build", "r1"), cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
    until(lambda: status(job) == "InProgress", 240)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the run was cancelled" in said
    until(lambda: status(job) == "Stopped", 120)
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize(("marked", "code", "left"), [(False, 143, "InProgress"), (True, 130, "Stopped")])
def test_a_run_in_a_pod_leaves_its_jobs_to_the_next_pod_unless_it_was_marked_as_cancelled(
    make_stack: Callable[[str, int], Stack], marked: bool, code: int, left: str
) -> None:
    stack = make_stack(f"parcels-pod-{code}", 100_000)
    run_id = f"pod-{code}"
    job = f"{stack.names.prefix}-{run_id}-train-deepar-1"
    command = [*stack.command("build", run_id), "--in-pod"]
    with (stack.folder / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=CHECKOUT, stderr=said)
    until(lambda: status(job) == "InProgress", 240)
    children = psutil.Process(process.pid).children(recursive=True)
    if marked:
        client("s3").put_object(Bucket=stack.names.bucket, Key=stack.names.cancelled_key(run_id), Body=b"")
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == code
    assert not any(child.is_running() for child in children)
    assert "Executing task" in (stack.folder / "said").read_text()
    until(lambda: status(job) == left, 120)
    if not marked:
        client("sagemaker").stop_training_job(TrainingJobName=job)


def test_what_a_pod_leaves_is_a_line_that_kubernetes_keeps_whole() -> None:
    result = {"run_id": "r1", "decision": "It waits for approval. " * 400, "packages": [1, 2], "threshold": 0.25}
    line = summary("s3://b/r.json", result)
    assert len(line) <= 4096
    found = json.loads(line)
    assert (found["result"], found["threshold"]) == ("s3://b/r.json", 0.25)
    assert found["decision"].startswith("It waits for approval.")
    assert "packages" not in found


def status(job: str) -> str:
    found = client("sagemaker").list_training_jobs(NameContains=job)["TrainingJobSummaries"]
    return str(found[0]["TrainingJobStatus"]) if found else "absent"
