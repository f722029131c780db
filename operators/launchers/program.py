"""What the places have in common that run `python -m pipelines.run` by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

COMPILED = Path("manifests/pipelines/ir")
_LONGEST_MESSAGE = 1000


def arguments(pipeline: str, feed: Path, run_id: str, output: Path, given: Mapping[str, str]) -> list[str]:
    """What the program is called with."""
    head = [pipeline, "--feed", str(feed), "--run-id", run_id, "--output", str(output)]
    return [*head, *(f"--{name.replace('_', '-')}={value}" for name, value in given.items())]


def digest(compiled: Path, pipeline: str) -> str:
    """Another text for each content of the compiled pipeline in the folder `compiled`; '' when there is none."""
    with suppress(OSError):
        return sha256((compiled / f"{pipeline}.yaml").read_bytes()).hexdigest()[:10]
    return ""


def last_line(output: str) -> str:
    """Why the program ended badly: the last line of what it printed."""
    lines = output.strip().splitlines()
    return lines[-1].removeprefix("loopcast: ")[:_LONGEST_MESSAGE] if lines else ""
