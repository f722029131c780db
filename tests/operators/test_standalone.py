"""`python -m operators --standalone`: the same decisions with no cluster, on a real local AWS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from loopcast.aws import client
from loopcast.feed import parse_feed
from loopcast.minute import Minute
from tests.operators.conftest import CHECKOUT, Program, World, until
from tests.pipelines.conftest import Stack, make_stack  # noqa: F401 - a fixture

FAKE = """
import json, os, signal, sys, time
from pathlib import Path
given = dict(flag.lstrip("-").split("=", 1) for flag in sys.argv[2:] if "=" in flag)
if given.get("wait"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    while not Path(given["wait"]).exists():
        time.sleep(0.02)
sys.exit(given.get("fail") and f"loopcast: {given['fail']}")
"""


@pytest.fixture
def fake_pipelines(world: World) -> Path:
    """A folder in which `python -m pipelines.run` is a program that waits or fails as its arguments say."""
    folder = world.folder / "checkout"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines" / "__init__.py").touch()
    (folder / "pipelines" / "run.py").write_text(FAKE)
    return folder


def document(kind: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    metadata = {"name": "fees", **metadata}
    return {"apiVersion": "loopcast.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def write(world: World, *documents: dict[str, Any]) -> Path:
    path = world.folder / "policies.yaml"
    part = path.with_suffix(".part")
    part.write_text(yaml.safe_dump_all(documents))
    return part.replace(path)


def retraining(world: World, *, request: str = "", **spec: Any) -> dict[str, Any]:
    triggers = {"alarms": [world.names.alarm("staging", "degraded")]}
    annotations = {"loopcast.io/retrain": request} if request else {}
    return document("RetrainingPolicy", {"feed": world.name, "triggers": triggers, **spec}, annotations=annotations)


def start(world: World, policies: Path, cwd: Path, **env: str) -> Program:
    before = Path.cwd()
    os.chdir(cwd)
    try:
        state = str(world.folder / "state")
        return world.operator("--standalone", "--policies", str(policies), "--state", state, **env)
    finally:
        os.chdir(before)


def decisions(world: World) -> list[dict[str, Any]]:
    path = world.folder / "state" / "decisions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def reasons(world: World) -> list[str]:
    return [entry["reason"] for entry in decisions(world)]


def test_decisions_are_told_in_a_file_and_in_the_log(world: World, fake_pipelines: Path) -> None:
    program = start(world, write(world, retraining(world)), fake_pipelines)
    until(lambda: reasons(world) == ["NothingDue"])
    world.alarm("ALARM")
    until(lambda: reasons(world)[-1] == "CoolingDown")
    launched = next(entry for entry in decisions(world) if entry["reason"] == "AlarmStanding")
    assert launched["run_id"].startswith("fees-retrain-1-")
    assert (launched["policy"], launched["pipeline"], launched["kind"]) == ("fees", "build", "RetrainingPolicy")
    assert datetime.fromisoformat(launched["time"]) >= datetime.fromisoformat(launched["event_time"])
    assert [claim["state"] for claim in world.claims()] == ["Succeeded"]
    assert '"reason": "AlarmStanding"' in program.text
    assert 'loopcast_operator_launches_total{kind="RetrainingPolicy"' in program.get("/metrics")
    assert (program.get("/healthz"), program.get("/readyz")) == ("ok\n", "ok\n")
    assert program.stop() == 0


def test_a_restart_adopts_the_run_that_goes_on_and_launches_nothing(world: World, fake_pipelines: Path) -> None:
    gate = world.folder / "gate"
    policies = write(world, retraining(world, pipeline={"arguments": {"wait": str(gate)}}))
    world.alarm("ALARM")
    first = start(world, policies, fake_pipelines)
    until(lambda: reasons(world)[-1:] == ["RunInProgress"])
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    start(world, policies, fake_pipelines)
    until(lambda: len(reasons(world)) >= 3 and reasons(world)[-1] == "RunInProgress")
    gate.touch()
    until(lambda: reasons(world)[-1] == "CoolingDown")
    assert [claim["state"] for claim in world.claims()] == ["Succeeded"]


def test_an_operator_that_is_told_to_stop_ends_the_runs_that_it_started(world: World, fake_pipelines: Path) -> None:
    policies = write(world, retraining(world, pipeline={"arguments": {"wait": str(world.folder / "never")}}))
    world.alarm("ALARM")
    program = start(world, policies, fake_pipelines)
    until(lambda: reasons(world)[-1:] == ["RunInProgress"])
    [known] = (world.folder / "state" / "runs").glob("*/process.json")
    run = psutil.Process(json.loads(known.read_text())["pid"])
    assert program.stop() == 0
    assert not run.is_running()


def test_policies_are_read_anew_and_a_mistake_leaves_those_before_in_force(world: World, fake_pipelines: Path) -> None:
    policies = write(world, retraining(world, suspend=True))
    program = start(world, policies, fake_pipelines)
    until(lambda: reasons(world) == ["Suspended"])
    write(world, retraining(world, cooldown="soon"))
    until(lambda: "write it like 6h" in program.text)
    write(world, retraining(world, request="please"))
    until(lambda: "ManualRequest" in reasons(world))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"kind": "Pod"}, "kind RetrainingPolicy or ReleasePolicy"),
        (document("ReleasePolicy", {}), "spec.feed"),
        (document("ReleasePolicy", {"feed": "another"}), "no policy for the feed parcels-"),
        (document("ReleasePolicy", {}, annotations=["loopcast.io/retrain"]), "annotations must be a mapping"),
    ],
)
def test_a_policy_that_can_not_be_used_is_one_sentence(world: World, policy: dict[str, Any], said: str) -> None:
    program = start(world, write(world, policy), CHECKOUT)
    assert program.process.wait(30) == 1
    assert said in program.text
    assert "Traceback" not in program.text


def test_two_operators_never_share_a_folder(world: World, fake_pipelines: Path) -> None:
    policies = write(world, retraining(world))
    start(world, policies, fake_pipelines)
    until(lambda: reasons(world))
    second = start(world, policies, fake_pipelines)
    assert second.process.wait(30) == 1
    assert "choose another --state" in second.text


def test_at_a_speed_the_time_is_the_newest_minutes_end(world: World, fake_pipelines: Path) -> None:
    feed = parse_feed(world.feed.read_text())
    group, runtime = world.names.feature_group, client("sagemaker-featurestore-runtime")
    world.make_feature_group()
    program = start(world, write(world, retraining(world)), fake_pipelines, LOOPCAST_SPEED="60")
    until(lambda: "waiting for the first minute" in program.text)
    for start_of in (datetime(2026, 11, 20, 23, 58, tzinfo=UTC), datetime(2026, 11, 21, 0, 1, tzinfo=UTC)):
        made = Minute(feed.name, start_of, 0, dict.fromkeys(feed.metrics, 1))
        until(lambda made=made: runtime.put_record(FeatureGroupName=group, Record=made.to_record()))
    until(lambda: decisions(world))
    world.alarm("ALARM")
    until(lambda: "AlarmStanding" in reasons(world))
    assert decisions(world)[-1]["event_time"] == "2026-11-21T00:02:00Z"


def test_the_loop_closes_with_real_pipelines(
    world: World,
    make_stack: Callable[[str, int], Stack],  # noqa: F811
) -> None:
    """An alarm; a real build; its model approved; a real deployment to staging; and its monitoring."""
    client("sagemaker").delete_model_package_group(ModelPackageGroupName=world.names.model_package_group)
    stack = make_stack(world.name, 1)
    stack.set_parameter("boosted", "candidates")
    world.feed.write_text(stack.file.read_text())
    patient = {"poll_interval": "0.2"}
    policies = write(
        world,
        retraining(world, pipeline={"arguments": patient}),
        document("ReleasePolicy", {"feed": world.name, "staging": {"arguments": patient}}),
    )
    world.alarm("ALARM")
    program = start(world, policies, CHECKOUT, LOOPCAST_SPEED="60")
    run = until(lambda: next((entry for entry in decisions(world) if entry["pipeline"] == "build"), None))
    output = world.folder / "state" / "runs" / run["run_id"]
    until(lambda: (output / "exit").exists(), 200)
    arn = json.loads((output / "result.json").read_text())["model_package_arn"]
    world.alarm("OK")
    client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    until(lambda: (world.folder / "state" / "recurring" / f"{world.name}-monitor-staging.json").exists(), 200)
    tried = [entry for entry in decisions(world) if entry["pipeline"]]
    assert [entry["pipeline"] for entry in tried] == ["build", "deploy"]
    assert tried[1]["tags"]["stage"] == "staging"
    served = client("sagemaker").describe_endpoint(EndpointName=world.names.endpoint("staging"))
    assert served["EndpointStatus"] == "InService"
    assert program.stop() == 0


def test_the_sample_policies_and_the_committed_definitions_are_the_models_own(tmp_path: Path) -> None:
    from operators.crds import OUTPUT, text
    from operators.policies import load_policies

    assert (CHECKOUT / OUTPUT).read_text() == text(), "run python -m operators.crds write"
    kinds = [policy.kind.name for policy in load_policies([CHECKOUT / "manifests" / "policies"])]
    assert kinds == ["RetrainingPolicy", "ReleasePolicy"]
    command = [sys.executable, "-m", "operators.crds", "write", "--output", str(tmp_path / "crds.yaml")]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    assert (tmp_path / "crds.yaml").read_text() == text()
