"""A model goes into production as a canary, and out of it again, by the commands that a launcher runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopcast.feed import parse_feed
from tests.components.examples import FEED_TEXT
from tests.components.stages import Stages, stages
from tests.pipelines.conftest import CHECKOUT

TEXT = FEED_TEXT.replace("name: parcels", "name: parcels-promoted")


@pytest.fixture(scope="module")
def local(aws: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    with stages(parse_feed(TEXT), aws, tmp_path_factory) as made:
        yield made


def run(folder: Path, pipeline: str, run_id: str, *flags: str) -> dict[str, Any]:
    """What a run that succeeds comes to."""
    file = folder / "feed.yaml"
    file.write_text(TEXT)
    command = [sys.executable, "-m", "pipelines.run", pipeline, "--feed", str(file), "--run-id", run_id]
    command += ["--output", str(folder / run_id), "--poll-interval", "0.1", *flags]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads((folder / run_id / "result.json").read_text()))


def test_production_gets_a_canary_and_can_be_taken_back_with_its_threshold(local: Stages, tmp_path: Path) -> None:
    old, new = local.package(0.2), local.package(0.4)
    for stage in ("staging", "production"):
        local.deploy(stage, old, f"{stage}-1")
    local.deploy("staging", new, "staging-2")
    threshold, arn = local.threshold("production"), new["ModelPackageArn"]

    flags = ("--model-package-arn", arn, "--stage", "production", "--bake-seconds", "1")
    deployed = run(tmp_path, "deploy", "production-2", *flags)

    assert deployed["model_package_arn"] == local.serves("production") == arn
    assert local.threshold("production") == pytest.approx(deployed["threshold"], rel=1e-4)
    assert deployed["threshold"] > threshold
    routing = local.endpoint("production")["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert routing["TrafficRoutingConfiguration"]["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}

    back = run(tmp_path, "rollback", "back-1", "--stage", "production", "--model-package-arn", arn, "--reason", "worse")

    assert (back["rolled_back"], back["model_package_arn"]) == (arn, old["ModelPackageArn"])
    assert local.serves("production") == old["ModelPackageArn"]
    assert local.threshold("production") == pytest.approx(threshold)
    assert local.described(arn)["ApprovalDescription"] == "rolled back from production: worse"
