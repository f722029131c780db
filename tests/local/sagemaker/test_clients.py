"""The aws command and the sagemaker SDK work against it unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from components.store_performance.constraints import constraints
from local.sagemaker.images import CHECKOUT
from tests.conftest import Service
from tests.local.sagemaker.conftest import IMAGE, ROLE, deploy, ended, put, training_job
from tests.local.sagemaker.test_monitoring import write

BIN = CHECKOUT / ".venv" / "sagemaker" / "bin"


def test_the_sdk_trains_deploys_and_asks_a_model(local: Service, bucket: str, name: str, tmp_path: Path) -> None:
    put(f"{name}-data/a.json", "1")
    program = Path(__file__).with_name("sdk_user.py")
    found = tmp_path / "found.json"
    _run(local, str(BIN / "python"), str(program), bucket, IMAGE, name, ROLE, str(found))
    assert json.loads(found.read_text()) == {
        "status": "Completed",
        "listed": True,
        "answer": "from-the-sdk/:hello",
    }


def test_the_sdk_schedules_the_built_in_monitor_and_reads_its_reports(
    local: Service, bucket: str, name: str, tmp_path: Path
) -> None:
    write(name, {"a": (1.0, 3.0), "b": (5.0, 3.0)})
    put(f"{name}/constraints.json", json.dumps(constraints({"mae": 1.0, "rmse": 2.5})))
    found = tmp_path / "found.json"
    _run(local, str(BIN / "python"), str(Path(__file__).with_name("sdk_monitor.py")), bucket, name, ROLE, str(found))
    assert json.loads(found.read_text()) == {
        "status": "CompletedWithViolations",
        "listed": [name],
        "definition": True,
        "rmse": 2.0,
        "violated": ["mae"],
    }


def test_the_aws_command_trains_and_asks_a_model(
    local: Service, sagemaker_client: Any, name: str, tmp_path: Path
) -> None:
    _aws(local, "sagemaker", "create-training-job", "--cli-input-json", json.dumps(training_job(name)))
    ended(sagemaker_client, "training", name)
    job = _aws(local, "sagemaker", "describe-training-job", "--training-job-name", name)
    assert job["TrainingJobStatus"] == "Completed"
    deploy(sagemaker_client, name, a=1)
    body, answer = tmp_path / "body", tmp_path / "answer"
    body.write_text("hello")
    invoke = ("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", name, "--body", f"fileb://{body}", str(answer))
    assert _aws(local, *invoke)["InvokedProductionVariant"] == "a"
    assert answer.read_text() == "a/:hello"


def _aws(local: Service, *arguments: str) -> dict[str, Any]:
    said = _run(local, str(BIN / "aws"), *arguments, "--output", "json")
    return json.loads(said) if said else {}


def _run(local: Service, *command: str) -> str:
    environment = {**local.env, "SAGEMAKER_VALIDATE_ROLE": "false", "AWS_PAGER": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
