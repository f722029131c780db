"""The SageMaker SDK and the AWS CLI work against the local feature store unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Service
from tests.local.feature_store.conftest import Group, new_name

TOOLS = Path(__file__).parents[3] / ".venv" / "sagemaker" / "bin"

pytestmark = pytest.mark.skipif(not TOOLS.exists(), reason="needs make .venv/sagemaker/ready")


def run(service: Service, *command: str | Path) -> Any:
    """The JSON document that the command prints last."""
    done = subprocess.run(command, env=dict(service.env), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout if done.stdout.startswith("{") else done.stdout.splitlines()[-1])


def test_the_sdk_makes_fills_reads_queries_and_deletes_a_group(sagemaker: Service, bucket: str) -> None:
    program = Path(__file__).parent / "sdk_program.py"
    name = new_name()
    seen = run(sagemaker, TOOLS / "python", program, name, bucket)
    assert seen["online"] == {"record_id": "b", "event_time": "2026-11-21T11:00:00Z", "count": "2", "mean": "1.5"}
    assert seen["offline"] == [
        ["a", "2026-11-21T10:00:00Z"],
        ["b", "2026-11-21T11:00:00Z"],
        ["c", "2026-11-21T12:00:00Z"],
    ]
    assert seen["sum"] == 2.0
    assert name in seen["listed"]


def test_the_cli_describes_a_group_and_reads_its_record(sagemaker: Service, group: Group) -> None:
    group.put(record_id="a b/c", event_time="2026-11-21T10:00:00Z", count="1")
    named = ("--feature-group-name", group.name)
    described = run(sagemaker, TOOLS / "aws", "sagemaker", "describe-feature-group", *named)
    assert described["FeatureGroupStatus"] == "Created"
    record = ("--record-identifier-value-as-string", "a b/c", "--feature-names", "count", "record_id")
    found = run(sagemaker, TOOLS / "aws", "sagemaker-featurestore-runtime", "get-record", *named, *record)
    assert [item["ValueAsString"] for item in found["Record"]] == ["a b/c", "1"]
