"""A run that can't go on says why in one sentence, and a cancelled run leaves no job and no process."""

import signal
import subprocess
from collections.abc import Callable

import psutil

from loopcast.aws import client
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
    until(lambda: status(job) == "InProgress")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the run was cancelled" in said
    until(lambda: status(job) == "Stopped")
    assert not any(child.is_running() for child in children)


def status(job: str) -> str:
    found = client("sagemaker").list_training_jobs(NameContains=job)["TrainingJobSummaries"]
    return str(found[0]["TrainingJobStatus"]) if found else "absent"
