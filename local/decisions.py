"""What the stack's operator has decided and launched, read from the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local.stack import progress


class Operator:
    """What the operator of the stack has decided, and the runs it has launched: files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told: set[str] = set()

    def decisions(self) -> list[dict[str, Any]]:
        """Oldest first."""
        path = self._folder / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def runs(self, pipeline: str) -> list[str]:
        """The ids of the pipeline's runs, oldest first; recurring ones are not decisions."""
        return [item["run_id"] for item in self.decisions() if item["pipeline"] == pipeline and item["run_id"]]

    def over(self, run: str) -> bool:
        """Whether the run is over; tells of each of its steps."""
        log = self.log(run)
        for line in log.read_text().splitlines() if log.exists() else []:
            if line.startswith("  ") and f"{run}{line}" not in self._told:
                self._told.add(f"{run}{line}")
                progress(line)
        return log.with_name("exit").exists()

    def log(self, run: str) -> Path:
        return self._folder / "runs" / run / "output.log"

    def result(self, run: str) -> dict[str, Any] | None:
        """What a run that is over has come to; None when it failed."""
        path = self._folder / "runs" / run / "result.json"
        return dict(json.loads(path.read_text())) if path.exists() else None
