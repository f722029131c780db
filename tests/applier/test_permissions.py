"""What the pipelines' role allows is what their steps call, on the resources that they name."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import pytest

from components.jobs import STEPS, Job, job_name
from components.run import Run
from loopcast.aws import client
from loopcast.feed import load_feed
from tests.applier.conftest import ACCOUNT, REGION, Stack
from tests.applier.test_declared import as_list, named

COMPONENTS = Path(__file__).parents[2] / "components"
SERVICES = set(boto3.Session().get_available_services())
IAM_NAMES = {"s3:ListObjectsV2": "s3:ListBucket"}
"""Of actions that IAM names otherwise than the API."""


def calls(tree: ast.AST) -> Iterator[str]:
    """The actions of the calls in a module. Some operations are looked up by their names, or by what is created."""
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    told = {word for word in words if "_" in word}
    called = attributes | told | {f"create_{word}" for word in told}
    for service in words & SERVICES:
        group = "sagemaker" if service.startswith("sagemaker-") else service
        for method, operation in client(service).meta.method_to_api_mapping.items():
            if method in called and "_" in method:  # `search` is something else
                yield IAM_NAMES.get(f"{group}:{operation}", f"{group}:{operation}")


def allowed(stack: Stack) -> list[tuple[str, str]]:
    """The pairs of action and resource pattern that the pipelines' role allows."""
    role = named(stack.resources(), "Role")[stack.names.role("pipelines")]
    return [
        (action, pattern)
        for document in role.spec["InlinePolicies"].values()
        for statement in json.loads(document)["Statement"]
        for action in as_list(statement["Action"])
        for pattern in as_list(statement["Resource"])
    ]


def test_every_call_of_a_step_is_allowed(make_stack: Callable[[str], Stack]) -> None:
    called = {action for file in COMPONENTS.rglob("*.py") for action in calls(ast.parse(file.read_text()))}
    called |= {f"sagemaker:{verb}{Job(kind, '').prefix}" for kind in STEPS for verb in ("Create", "Describe", "Stop")}
    assert {"sagemaker:CreateMonitoringSchedule", "ssm:PutParameter", "s3:ListBucket"} <= called

    assert called - {action for action, _ in allowed(make_stack("bitcoin-fees"))} == set()


@pytest.mark.parametrize("feed", ["bitcoin-fees", "rides-of-a-whole-city-by-hours"])
def test_a_tuning_run_may_search_and_keep_what_it_finds(make_stack: Callable[[str], Stack], feed: str) -> None:
    stack = make_stack(feed)
    run = Run(load_feed(stack.feed), stack.names, "tune-1")
    job = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{job_name(run, 'tuning', 'tune', 1)}"
    found = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{stack.names.parameter('hyperparameters', 'boosted', 'eta')}"
    for wanted in (
        ("sagemaker:CreateHyperParameterTuningJob", job),
        ("sagemaker:StopHyperParameterTuningJob", job),
        ("sagemaker:AddTags", job),
        ("ssm:PutParameter", found),
    ):
        assert any(wanted[0] == action and fnmatchcase(wanted[1], pattern) for action, pattern in allowed(stack)), (
            wanted
        )
