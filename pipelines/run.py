"""Runs a pipeline on this machine, each step as a process of its own.

A run that is started again with its id adopts what it did before; Ctrl-C cancels it and stops its jobs.
"""

import argparse
import contextlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError
from kfp import local
from pythonjsonlogger.json import JsonFormatter

from components.check_approval.check_approval import STAGES
from components.jobs import stop_jobs
from components.monitor_constraints.check import remove as remove_check
from components.run import Refused, open_run, read_json
from loopcast.feed import FeedError, load_feed
from pipelines.compile import PIPELINES
from pipelines.progress import Progress

_GIVEN = {"feed", "run_id", "commit"}
_CANCELLED = 130
_log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line: a subcommand for each pipeline, a flag for each of its parameters."""
    top = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    commands = top.add_subparsers(dest="pipeline", required=True)
    for name, pipeline in PIPELINES.items():
        command = commands.add_parser(name, help=pipeline.description, description=pipeline.description)
        command.add_argument("--feed", type=Path, required=True, help="the feed file")
        command.add_argument("--run-id", required=True, help="names the run")
        command.add_argument("--output", type=Path, help="folder of its result.json, report and log")
        for parameter, definition in pipeline.component_spec.inputs.items():
            if parameter not in _GIVEN:
                _add_flag(command, parameter, definition)
    return top


def _add_flag(command: argparse.ArgumentParser, name: str, definition: Any) -> None:
    command.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        type=_TYPES[definition.type.partition("[")[0]],
        required=not definition.optional,
        default=definition.default,
        help=f"{definition.description or name} (default: {definition.default!r})",
    )


def _json_object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError(f"it must be a JSON object, not {text}")
    return document


_TYPES: dict[str, Callable[[str], Any]] = {"Integer": int, "Float": float, "String": str, "Dict": _json_object}


def run(name: str, arguments: dict[str, Any], output: Path, progress: Progress) -> dict[str, Any]:
    """Runs the pipeline and returns its result. Raises `Refused` with the cause when a step fails."""
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(output / "artifacts"),
        workspace_root=str(output / "workspace"),
        raise_on_error=True,
    )
    with contextlib.redirect_stdout(progress), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You may be attemping to run a task that uses custom", RuntimeWarning)
        try:
            return dict(read_json(PIPELINES[name](**arguments).outputs["Output"]))
        except RuntimeError as error:
            if not progress.failed:
                raise
            raise Refused(f"The step {progress.failed} failed: {progress.cause}") from error


def keep(output: Path, result: dict[str, Any], durations: dict[str, float]) -> None:
    """Leaves result.json, and the report where the pipeline drew one, in `output`."""
    (output / "result.json").write_text(json.dumps({**result, "durations": durations}, indent=2), encoding="utf-8")
    for report in sorted(output.glob("artifacts/**/report"), key=lambda path: path.stat().st_mtime):
        shutil.copyfile(report, output / "report.html")


def cancel(feed_text: str, run_id: str) -> None:
    """Ends the step that runs, and stops the run's jobs."""
    # The innermost first, so that its parent reaps it.
    for child in reversed(psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            child.kill()
            child.wait(5)
    try:
        cancelled = open_run(feed_text, run_id)
        for name in stop_jobs(cancelled):
            _log.warning("stopped the job %s", name)
        for stage in STAGES:
            remove_check(cancelled, stage)
    except (BotoCoreError, ClientError) as error:
        _log.warning("the run's jobs could not be stopped: %s", error)


def git_commit() -> str:
    """The commit that this code is at; '' where that is not known."""
    git = shutil.which("git")
    if git is None:
        return ""
    found = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10)
    return found.stdout.strip()


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    given = vars(parser().parse_args())
    logging.getLogger().handlers = [_json_handler()]
    name, run_id, feed_path = given.pop("pipeline"), given.pop("run_id"), given.pop("feed")
    output = given.pop("output") or Path(".loopcast/runs") / run_id / name
    output.mkdir(parents=True, exist_ok=True)
    try:
        load_feed(feed_path)
    except FeedError as error:
        raise SystemExit(f"loopcast: {error}") from None
    feed_text = feed_path.read_text(encoding="utf-8")
    arguments = {"feed": feed_text, "run_id": run_id, **given}
    if "commit" in PIPELINES[name].component_spec.inputs:
        arguments["commit"] = git_commit()
    _run_and_keep(name, arguments, output)


def _run_and_keep(name: str, arguments: dict[str, Any], output: Path) -> None:
    stderr = sys.stderr
    with (output / "run.log").open("a", encoding="utf-8") as log, _terminated_as_interrupted():
        progress = Progress(log, lambda line: print(line, file=stderr, flush=True))
        try:
            result = run(name, arguments, output, progress)
        except Refused as error:
            raise SystemExit(f"loopcast: {error} (log: {output / 'run.log'})") from None
        except KeyboardInterrupt:
            cancel(arguments["feed"], arguments["run_id"])
            print("loopcast: the run was cancelled", file=stderr)
            raise SystemExit(_CANCELLED) from None
    keep(output, result, progress.durations)
    print(output / "result.json")


def _json_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


if __name__ == "__main__":
    main()
