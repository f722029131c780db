"""The probe finds local AWS and SageMaker working, and says what isn't."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.sagemaker import probe
from loopcast import aws as kernel
from tests.conftest import Service

FORECASTERS = Path(__file__).parents[3] / ".venv" / "forecasters" / "bin" / "python"


def run(what: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.sagemaker.probe", what, "--seconds", "120"]
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=200)


def test_aws_that_works_passes_and_keeps_nothing(aws: Service) -> None:
    done = run("aws", aws.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Kinesis: a record was put and got" in done.stdout
    names = [bucket["Name"] for bucket in kernel.client("s3").list_buckets()["Buckets"]]
    assert not [name for name in names if name.startswith("probe-")]


@pytest.mark.skipif(not FORECASTERS.exists(), reason="the forecasters' environment is not installed")
def test_a_sagemaker_that_works_passes_and_keeps_nothing(sagemaker: Service) -> None:
    done = run("sagemaker", sagemaker.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SageMaker: an endpoint has answered" in done.stdout
    assert not kernel.client("sagemaker").list_models(NameContains="probe-")["Models"]


def test_a_job_that_fails_is_told_with_its_reason(local: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "IMAGE", "no-environment:1")
    with pytest.raises(probe.Broken, match=r"TrainingJobStatus is Failed: .* is not installed"):
        probe.probe_sagemaker("probe-broken", deadline=time.monotonic() + 60)
