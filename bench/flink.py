"""The Flink job beside a plain Python window function, on the same events in one run."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv" / "flink" / "bin" / "python"
FEED = ROOT / "feeds" / "bitcoin-fees.yaml"
EVENTS_PER_SECOND = 14
TIMEOUT = 300


def measure(folder: Path, events: int = 200_000) -> list[dict[str, Any]]:
    """Events a second through both, and the first's over the second's; the minutes of both must be the same."""
    (folder / "events").mkdir(parents=True)
    with (folder / "events" / "events.json").open("w") as file:
        file.writelines(_lines(events))
    sql, plain = (_run(job, folder) for job in ("sql", "plain"))
    if (found := _minutes(folder / "sql")) != _minutes(folder / "plain") or not found:
        raise AssertionError("the SQL job and the plain window function disagree")
    return [
        {"what": "Flink: SQL job", "value": events / sql, "unit": "events/s"},
        {"what": "Flink: plain Python window function", "value": events / plain, "unit": "events/s"},
        {"what": "Flink: the SQL job beside the plain function", "value": plain / sql, "unit": "times"},
    ]


def _lines(events: int) -> list[str]:
    """Events as the default feed's, with every twentieth repeated; the seed is fixed."""
    generator = random.Random(1)
    lines = []
    for number in range(events):
        if number % 20 == 19:
            lines.append(lines[-5])
            continue
        values = {"fee": generator.randrange(10**6), "virtual_size": generator.randrange(100, 5000)}
        time = 1_700_000_000_000 + number * 1000 // EVENTS_PER_SECOND
        lines.append(json.dumps({"loopcast": {"id": f"{number:064x}", "time": time, "values": values}}) + "\n")
    return lines


def _run(job: str, folder: Path) -> float:
    """How many seconds the job ran for, its planning and the start of Flink left out."""
    command = [str(PYTHON), "-W", "ignore", "-m", "bench.flink_jobs", job, "--feed", str(FEED)]
    paths = ["--input", str(folder / "events"), "--output", str(folder / job)]
    done = subprocess.run(
        [*command, *paths],
        cwd=ROOT,
        env={**os.environ, "FLINK_LOG_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the {job} job failed:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def _minutes(folder: Path) -> dict[str, dict[str, object]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    minutes = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    for minute in minutes:
        minute.pop("series_id", None)  # the file connector writes what it partitions by into the path
    return {minute["minute_start"]: minute for minute in minutes}
