"""Measures the stack on this machine, prints a table, and leaves `.loopcast/bench/report.json`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from bench import flink, freshness, pace, stages
from local.parts import FIRST_PORT, default_folder
from local.processes import StackError
from local.stack import progress

_MEASUREMENTS: dict[str, Callable[[Path, int], list[dict[str, Any]]]] = {
    "pace": pace.measure,
    "stages": stages.measure,
    "freshness": freshness.measure,
    "flink": lambda folder, _port: flink.measure(folder),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(_MEASUREMENTS), action="append", help="measure this alone")
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="the first of nine ports (default: %(default)s)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    folder = default_folder() / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for name in arguments.only or _MEASUREMENTS:
        progress(f"measuring {name}")
        try:
            rows += _MEASUREMENTS[name](folder / name, arguments.port)
        except StackError as error:
            raise SystemExit(f"loopcast: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit("loopcast: interrupted: everything was stopped") from None
    report = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "rows": rows}
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    print(table(rows))
    print(f"the report is {folder / 'report.json'}")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows (what, value, unit), aligned."""
    width = max(len(row["what"]) for row in rows)
    return "\n".join(f"{row['what']:<{width}}  {_number(row['value']):>10} {row['unit']}" for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
