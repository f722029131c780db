"""What a part's role allows is what its program calls, and what the pipelines' role allows is on what they name."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import pytest

from applier.__main__ import DEFAULT_PATH
from applier.kinds import KINDS
from applier.manifest import placeholders, read_manifests
from applier.resources import Place, resources_of
from components.jobs import STEPS, Job, job_name
from components.run import Run
from loopcast.aws import client
from loopcast.feed import load_feed
from tests.applier.conftest import ACCOUNT, DEFAULT_FEED, REGION, Stack
from tests.applier.test_declared import as_list, named

ROOT = Path(__file__).parents[2]
COMPONENTS = ROOT / "components"
SERVICES = set(boto3.Session().get_available_services())
IAM_NAMES = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
"""Of actions that IAM names otherwise than the API."""
APPLIERS_NAMES = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}
FREE = {"sts:GetCallerIdentity"}
"""What everybody may."""
PROGRAMS = {
    "poller": "ingestion.poller",
    "deduplicator": "ingestion.deduplicator",
    "feature-writer": "ingestion.feature_writer",
    "repairer": "ingestion.repairer",
    "flink": "flink.cluster",
    "pipelines": "pipelines.run",
    "operator": "operators.__main__",
}
OF_OTHERS = {
    "poller": {"s3:GetObject"},
    "deduplicator": {"events:PutEvents"},
    "feature-writer": {"s3:GetObject"},
    "repairer": {"sagemaker:PutRecord"},
}
"""What modules call for another part that shares them."""
BEYOND_PYTHON = {
    # Flink's connectors and its file system are Java.
    "flink": ("kinesis:", "s3:GetObject", "s3:PutObject"),
    # Of kinds of jobs made up by name; and what AWS does in the caller's name for Athena, SageMaker and scaling.
    "pipelines": (
        *("sagemaker:Create", "sagemaker:Describe", "sagemaker:Stop", "sagemaker:UpdateEndpointWeightsAndCapacities"),
        *("athena:GetWorkGroup", "glue:", "s3:GetBucketLocation"),
        *("cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "iam:"),
    ),
}


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


def imported(module: str) -> set[str]:
    """The module and those of ours that it imports, and they in turn."""
    found: set[str] = set()
    wanted = [module]
    while wanted:
        name = wanted.pop()
        if name in found or not _file(name).exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(_file(name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted += [node.module, *(f"{node.module}.{item.name}" for item in node.names)]
            elif isinstance(node, ast.Import):
                wanted += [item.name for item in node.names]
    return found


def _file(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def awaited(part: str) -> Iterator[str]:
    """The actions by which a part waits for its resources: ingestion/waiting.py has a function for each kind."""
    tree = ast.parse(_file("ingestion.waiting").read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    (needs,) = [node for node in ast.walk(functions["_needs"]) if isinstance(node, ast.Dict)]
    for key, value in zip(needs.keys, needs.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == part:
            names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
            for name in names & set(functions):
                yield from calls(functions[name])


@pytest.mark.parametrize("part", PROGRAMS)
def test_a_role_allows_what_its_program_calls_and_no_more(make_stack: Callable[[str], Stack], part: str) -> None:
    modules = imported(PROGRAMS[part]) - {"ingestion.waiting"}
    called = {action for module in modules for action in calls(ast.parse(_file(module).read_text()))}
    called |= set(awaited(part))
    granted = {action for action, _ in allowed(make_stack("bitcoin-fees"), part)}

    assert called - FREE - OF_OTHERS.get(part, set()) - granted == set()
    assert {action for action in granted - called if not action.startswith(BEYOND_PYTHON.get(part, ()))} == set()


def test_the_appliers_role_allows_every_call_that_its_kinds_make_and_not_to_change_itself() -> None:
    values = placeholders(load_feed(DEFAULT_FEED), ACCOUNT, REGION)
    (role,) = resources_of(read_manifests(DEFAULT_PATH / "bootstrap", values), Place(ACCOUNT, REGION))
    statements = [
        statement
        for document in role.spec["InlinePolicies"].values()
        for statement in json.loads(document)["Statement"]
    ]
    granted = {action for item in statements if item["Effect"] == "Allow" for action in as_list(item["Action"])}

    made = {
        f"{kind.service}:{operation}"
        for kind in KINDS
        for operation in (
            *(kind.create, kind.read, kind.delete),
            *(update.operation for update in kind.updates),
            *(operation for part in kind.parts for operation in (part.write, part.read)),
        )
    }
    assert {APPLIERS_NAMES.get(action, action) for action in made} - granted == set()
    assert not [action for action in granted if "*" in action]
    assert len("".join("".join(role.spec["InlinePolicies"].values()).split())) <= 10_240
    (denied,) = [item for item in statements if item["Effect"] == "Deny"]
    assert denied["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/{role.name}"
    assert all(action.split(":")[1].startswith(("Get", "List")) for action in denied["NotAction"])


def allowed(stack: Stack, part: str = "pipelines") -> list[tuple[str, str]]:
    """The pairs of action and resource pattern that the part's role allows."""
    role = named(stack.resources(), "Role")[stack.names.role(part)]
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
