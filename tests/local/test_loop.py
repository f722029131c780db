"""The demo follows the operator by the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.decisions import Operator
from local.loop import version_of
from local.parts import Settings, write_policies
from loopcast.feed import load_feed
from operators.policies import load_policies

ROOT = Path(__file__).parents[2]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    decisions = [
        {"pipeline": "", "run_id": "", "reason": "NoTrigger"},
        {"pipeline": "build", "run_id": "b1", "reason": "AlarmStands"},
        {"pipeline": "deploy", "run_id": "d1", "reason": "Approved"},
    ]
    (tmp_path / "decisions.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in decisions))
    return Operator(tmp_path)


def test_the_operators_runs_are_told_apart_by_pipeline(operator: Operator, tmp_path: Path) -> None:
    assert operator.runs("build") == ["b1"]
    assert operator.runs("monitor") == []
    assert Operator(tmp_path / "nothing").decisions() == []


def test_each_step_of_a_run_is_told_once_and_its_result_read_when_it_is_over(
    operator: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "b1"
    folder.mkdir(parents=True)
    assert not operator.over("b1")
    operator.log("b1").write_text("  train: 3.0 s\n{json}\n")
    assert not operator.over("b1")
    (folder / "exit").write_text("0")
    assert operator.over("b1")
    assert capsys.readouterr().out.count("train: 3.0 s") == 1
    assert operator.result("b1") is None
    (folder / "result.json").write_text('{"model_package_arn": "arn:aws:sagemaker:r:0:model-package/loopcast-x/12"}')
    built = operator.result("b1")
    assert built is not None
    assert version_of(built) == 12


def test_the_policies_of_a_stack_are_for_its_feed(tmp_path: Path) -> None:
    path = ROOT / "tests" / "flink" / "harbour.yaml"
    settings = Settings(path, load_feed(path), tmp_path)
    write_policies(settings)
    policies = load_policies([settings.policies])
    assert {policy.spec.feed for policy in policies} == {"harbour-loads"}
    assert policies[0].spec.triggers.alarms[0] == settings.names.alarm("staging", "degraded")
