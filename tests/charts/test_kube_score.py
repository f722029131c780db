"""A second opinion: kube-score finds nothing critical in any chart, apart from what is decided otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from tests.charts.conftest import Render
from tests.charts.rendering import CHARTS, KUBERNETES, Object, chart_names, ci_values

CASES = [(chart, "") for chart in chart_names()] + ci_values()
DECIDED = {
    "container-image-pull-policy": "images are pinned: pulling them again brings nothing new",
    "container-ephemeral-storage-request-and-limit": "what may be written is an emptyDir with a limit of its own",
    "deployment-has-poddisruptionbudget": "one replica has none: policies.py says when there must be one",
    "statefulset-has-poddisruptionbudget": "the same",
    "networkpolicy-targets-pod": "the operator and SageMaker-local make pods of their own",
    "statefulset-has-servicename": "each has one pod, which nobody asks for by its own name",
    "pod-probes-identical": "policies.py asks for both probes",
}
"""Tests of kube-score that these charts don't follow, and why. CPU has no limit either: docs/charts.md."""
CRITICAL = 1
"""kube-score's grade of what is critical: 10 is all right, 5 a warning."""


@pytest.mark.parametrize(("chart", "file"), CASES, ids=[f"{chart}-{file or 'defaults'}" for chart, file in CASES])
def test_should_have_nothing_critical(render: Render, chart: str, file: str) -> None:
    if shutil.which("kube-score") is None:
        pytest.skip("kube-score is not on PATH (make test-charts builds it)")
    objects = render(chart, CHARTS / chart / "ci" / file if file else {})
    assert critical(objects) == []


def critical(objects: list[Object]) -> list[str]:
    """What kube-score calls critical, a sentence each."""
    command = ["kube-score", "score", "--kubernetes-version", f"v{KUBERNETES.rpartition('.')[0]}"]
    command += ["--ignore-container-cpu-limit", "--ignore-test", ",".join(DECIDED), "--output-format", "json", "-"]
    done = subprocess.run(command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    return [
        f"{item['object_name']}: {check['check']['name']}: {comment['summary']}"
        for item in json.loads(done.stdout) or []
        for check in item["checks"]
        if check["grade"] == CRITICAL and not check["skipped"]
        for comment in check["comments"] or [{"summary": ""}]
    ]
