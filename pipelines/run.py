"""Runs a pipeline on this machine, each step as a process of its own.

A run that is started again with its id adopts what it did before; Ctrl-C cancels it and stops its jobs. In a pod, which
may be moved at any time, only a run that was marked as cancelled stops its jobs when it is ended.
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
from typing import Any, TextIO

import psutil
from botocore.exceptions import BotoCoreError, ClientError
from kfp import local
from pythonjsonlogger.json import JsonFormatter

from components.check_approval.check_approval import STAGES
from components.jobs import stop_jobs
from components.monitor_constraints.check import remove as remove_check
from components.run import Refused, Run, open_run, read_json
from loopcast import aws
from loopcast.feed import FeedError, load_feed
from pipelines.compile import PIPELINES
from pipelines.progress import Progress

_GIVEN = {"feed", "run_id", "commit"}
_CANCELLED, _MOVED = 130, 143
_TERMINATION_MESSAGE = Path("/dev/termination-log")
_LONGEST_MESSAGE = 4096
"""Bytes of a termination message that Kubernetes keeps."""
_IN_POD = (
    "prints the whole log and leaves a line of JSON in the pod's termination message; when it is ended, it stops its "
    "jobs only if the run was marked as cancelled, and else leaves them to the next pod"
)
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
        command.add_argument("--in-pod", action="store_true", help=_IN_POD)
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


def run(name: str, arguments: dict[str, Any], output: Path, progress: Progress) -> tuple[str, dict[str, Any]]:
    """Runs the pipeline and returns where its result lies, and the result. Raises `Refused` with the cause when a step
    fails."""
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(output / "artifacts"),
        workspace_root=str(output / "workspace"),
        raise_on_error=True,
    )
    with contextlib.redirect_stdout(progress), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You may be attemping to run a task that uses custom", RuntimeWarning)
        try:
            address = str(PIPELINES[name](**arguments).outputs["Output"])
            return address, dict(read_json(address))
        except RuntimeError as error:
            if not progress.failed:
                raise
            raise Refused(f"The step {progress.failed} failed: {progress.cause}") from error


def keep(output: Path, result: dict[str, Any], durations: dict[str, float]) -> None:
    """Leaves result.json, and the report where the pipeline drew one, in `output`."""
    (output / "result.json").write_text(json.dumps({**result, "durations": durations}, indent=2), encoding="utf-8")
    for report in sorted(output.glob("artifacts/**/report"), key=lambda path: path.stat().st_mtime):
        shutil.copyfile(report, output / "report.html")


def summary(address: str, result: dict[str, Any]) -> str:
    """A line of JSON, at most 4096 bytes: where the result lies, and what of it is a text or a number."""
    kept = {key: value for key, value in result.items() if isinstance(value, str | int | float)}
    while len(line := json.dumps({"result": address, **kept})) > _LONGEST_MESSAGE:
        longest = max(kept, key=lambda key: len(str(kept[key])))
        kept[longest] = f"{str(kept[longest])[: len(str(kept[longest])) // 2]}..."
    return line


def end_step() -> None:
    """Ends the step that runs."""
    # The innermost first, so that its parent reaps it.
    for child in reversed(psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            child.kill()
            child.wait(5)


def was_cancelled(ended: Run) -> bool:
    """Whether whoever ended the run has marked it as cancelled before; what can't be found out is no."""
    try:
        aws.client("s3").head_object(Bucket=ended.names.bucket, Key=ended.names.cancelled_key(ended.id))
    except (BotoCoreError, ClientError):
        return False
    return True


def cancel(feed_text: str, run_id: str) -> None:
    """Ends the step that runs, and stops the run's jobs."""
    end_step()
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
    output, in_pod = given.pop("output") or Path(".loopcast/runs") / run_id / name, given.pop("in_pod")
    output.mkdir(parents=True, exist_ok=True)
    try:
        load_feed(feed_path)
    except FeedError as error:
        raise SystemExit(f"loopcast: {error}") from None
    feed_text = feed_path.read_text(encoding="utf-8")
    arguments = {"feed": feed_text, "run_id": run_id, **given}
    if "commit" in PIPELINES[name].component_spec.inputs:
        arguments["commit"] = git_commit()
    _run_and_keep(name, arguments, output, in_pod)


def _run_and_keep(name: str, arguments: dict[str, Any], output: Path, in_pod: bool) -> None:
    stderr = sys.stderr
    with _log_of(output, in_pod) as log, _terminated_as_interrupted():
        progress = Progress(log, lambda line: print(line, file=stderr, flush=True))
        try:
            address, result = run(name, arguments, output, progress)
        except Refused as error:
            where = "" if in_pod else f" (log: {output / 'run.log'})"
            raise SystemExit(f"loopcast: {error}{where}") from None
        except KeyboardInterrupt:
            raise SystemExit(_ended(arguments["feed"], arguments["run_id"], in_pod)) from None
    keep(output, result, progress.durations)
    if in_pod:
        _TERMINATION_MESSAGE.write_text(summary(address, result), encoding="utf-8")
    print(summary(address, result) if in_pod else output / "result.json")


def _log_of(output: Path, in_pod: bool) -> contextlib.AbstractContextManager[TextIO]:
    """Nothing outlives a pod but what it has printed."""
    return contextlib.nullcontext(sys.stderr) if in_pod else (output / "run.log").open("a", encoding="utf-8")


def _ended(feed_text: str, run_id: str, in_pod: bool) -> int:
    """The exit code of a run that was ended, after what is to be done then."""
    end_step()
    if in_pod and not was_cancelled(open_run(feed_text, run_id)):
        print("loopcast: the pod was ended: the next one goes on with the run's jobs", file=sys.stderr)
        return _MOVED
    cancel(feed_text, run_id)
    print("loopcast: the run was cancelled", file=sys.stderr)
    return _CANCELLED


def _json_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


if __name__ == "__main__":
    main()
