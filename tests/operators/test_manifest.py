"""The Job of a run, as it is made from a template; no cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.launchers.manifest import MOVED, TemplateError, job, label, order, read_template
from operators.runs import Run

TEMPLATE: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "replaced", "labels": {"app.kubernetes.io/instance": "one"}},
    "spec": {
        "template": {
            "spec": {
                "serviceAccountName": "pipelines",
                "containers": [{"name": "other", "image": "b"}, {"name": "pipeline", "image": "a"}],
            }
        }
    },
}
RUN = Run(
    3,
    "deploy",
    "Approved",
    datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
    id="fees-release-3-h1",
    reason="Version 3 is approved.",
    policy="fees",
    tags={"stage": "staging"},
)
OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "operator", "uid": "u"}


def made(template: dict[str, Any] = TEMPLATE, run: Run = RUN) -> dict[str, Any]:
    return job(template, order(run, ["deploy", "--run-id", run.id]), OWNER)


def test_a_job_is_named_after_its_run_and_tells_what_it_is_and_why() -> None:
    metadata = made()["metadata"]
    assert metadata["name"] == RUN.id
    assert metadata["labels"] == {
        "app.kubernetes.io/name": "loopcast",
        "app.kubernetes.io/component": "pipeline",
        "app.kubernetes.io/part-of": "loopcast",
        "app.kubernetes.io/instance": "one",
        "app.kubernetes.io/managed-by": "loopcast-operator",
        "loopcast.io/pipeline": "deploy",
        "loopcast.io/policy": "fees",
        "loopcast.io/run-id": RUN.id,
    }
    assert metadata["annotations"] == {
        "loopcast.io/reason": "Version 3 is approved.",
        "loopcast.io/trigger": "Approved",
        "loopcast.io/event-time": "2026-11-21T12:00:00Z",
        "loopcast.io/stage": "staging",
    }
    assert metadata["ownerReferences"] == [OWNER]


def test_only_the_container_named_pipeline_is_given_the_arguments() -> None:
    other, pipeline = made()["spec"]["template"]["spec"]["containers"]
    assert other == {"name": "other", "image": "b"}
    assert pipeline["args"] == ["deploy", "--run-id", RUN.id]
    assert pipeline["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_pod_that_was_moved_runs_again_and_one_whose_program_fails_does_not() -> None:
    moved, failed = made()["spec"]["podFailurePolicy"]["rules"]
    assert moved == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert failed["action"] == "FailJob"
    assert failed["onExitCodes"] == {"containerName": "pipeline", "operator": "NotIn", "values": list(MOVED)}
    assert made()["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_what_the_template_says_stays() -> None:
    given = {"backoffLimit": 1, "ttlSecondsAfterFinished": 5, "activeDeadlineSeconds": 7, "podFailurePolicy": {}}
    spec = made({**TEMPLATE, "spec": {**TEMPLATE["spec"], **given}})["spec"]
    assert {key: spec[key] for key in given} == given
    assert spec["template"]["spec"]["serviceAccountName"] == "pipelines"


def test_the_template_itself_stays_as_it_is() -> None:
    before = yaml.safe_dump(TEMPLATE)
    made()
    assert yaml.safe_dump(TEMPLATE) == before


def test_a_job_that_recurs_is_not_removed_by_the_cluster() -> None:
    recurring = replace(order(RUN, []), recurs=True)
    assert "ttlSecondsAfterFinished" not in job(TEMPLATE, recurring, None)["spec"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("fees", "fees"), ("", ""), ("a" * 63, "a" * 63), ("a b", "a-b-c8687a08"), ("x" * 64, None), ("-" * 64, None)],
)
def test_a_label_is_one_that_kubernetes_takes_and_another_for_each_value(value: str, expected: str | None) -> None:
    import re

    made = label(value)
    assert expected is None or made == expected
    assert len(made) <= 63
    assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?", made)
    assert made != label(value + "y")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "can't be read"),
        ("[]", "no Job of batch/v1"),
        ("{apiVersion: batch/v1, kind: Job}", "no spec.template.spec.containers"),
        (
            "{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: [{name: x, image: y}]}}}}",
            "no container pipeline",
        ),
        (
            "{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: [{name: pipeline}]}}}}",
            "no container pipeline with an image",
        ),
    ],
)
def test_a_template_that_can_not_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(TemplateError, match=said):
        read_template(path)
    with pytest.raises(TemplateError, match="can't be read"):
        read_template(tmp_path / "nowhere.yaml")
