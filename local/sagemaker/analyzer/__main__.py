"""`python -m local.sagemaker.analyzer`: merges, measures, checks, writes the reports and says how it went."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.sagemaker.analyzer.constraints import suggest, violations
from local.sagemaker.analyzer.dataset import read_pairs
from local.sagemaker.analyzer.metrics import plain, regression_metrics
from local.sagemaker.analyzer.publish import publish
from local.sagemaker.analyzer.settings import CONTRACT, AnalysisFailed, Settings, read_settings

log = logging.getLogger("analyzer")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        message, code = analyze(read_settings(os.environ)), 0
    except AnalysisFailed as error:
        message, code = f"Failed: {error}", 1
    log.info(message)
    (Path(os.environ.get("SAGEMAKER_BASE_DIR", CONTRACT)) / "output" / "message").write_text(message)
    sys.exit(code)


def analyze(settings: Settings) -> str:
    """Writes the reports; what the job says at its end. Raises `AnalysisFailed`."""
    pairs = read_pairs(settings)
    metrics = regression_metrics(pairs.labels, pairs.predictions)
    settings.output.mkdir(parents=True, exist_ok=True)
    _write(settings, "statistics.json", _statistics(settings, len(pairs.labels), plain(metrics)))
    _write(settings, "constraints.json", suggest(metrics))
    found = violations(metrics, _read_constraints(settings.constraints)) if settings.constraints else []
    if settings.constraints:
        _write(settings, "constraint_violations.json", {"version": 0.0, "violations": found})
    if settings.publish:
        publish(settings, metrics)
    if found:
        return f"CompletedWithViolations: Job completed successfully with {len(found)} violations."
    return "Completed: Job completed successfully with no violations."


def _statistics(settings: Settings, count: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
    times = {"start_time": settings.start, "end_time": settings.end, "evaluation_time": datetime.now(UTC)}
    stated = {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in times.items() if moment}
    return {"version": 0.0, "dataset": {"item_count": count, **stated}, "regression_metrics": metrics}


def _read_constraints(path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AnalysisFailed(f"the constraints in {path.name} can't be read: {error}") from error
    if not isinstance(parsed, dict):
        raise AnalysisFailed(f"the constraints in {path.name} are no JSON object")
    return parsed


def _write(settings: Settings, name: str, document: Mapping[str, Any]) -> None:
    (settings.output / name).write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
