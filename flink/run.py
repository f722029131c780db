"""Runs a feed's job on this machine, and keeps it running.

Flink itself restarts the job after a failure in it; when the whole JVM dies, or this program was killed and is started
again, the job goes on from its newest checkpoint. This program runs in the main environment, the job's client and the
JVM beside it in PyFlink's own (`--flink-python`).
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from flink.checkpoints import job_id, newest
from flink.home import Missing, Setup, assemble, distribution
from flink.settings import (
    JOB,
    ROOT,
    Refused,
    add_job_flags,
    job_arguments,
    log_as_json,
    max_shards,
    require_shards,
    s3_endpoint,
    stream,
)
from loopcast.feed import Feed, FeedError, load_feed

STOP_SECONDS = 8.0
STEADY_SECONDS = 60.0
"""A JVM that lived so long had started well: its end is not counted against the next start."""
MOST_STARTS = 5
_PR_SET_PDEATHSIG = 1

log = logging.getLogger("flink.run")


def main() -> None:
    """Runs a feed's Flink job, and starts it again from its newest checkpoint whenever it ends."""
    arguments = _arguments()
    log_as_json(log)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        feed = load_feed(arguments.feed)
        _require_free_port(arguments.rest_port, "--rest-port")
        _require_free_port(arguments.metrics_port, "--metrics-port")
        require_shards(stream(arguments, feed, "events"), max_shards(arguments, feed))
        sys.exit(keep_running(lambda: _start(arguments, feed), stop))
    except (FeedError, Missing, Refused) as error:
        raise SystemExit(f"flink.run: {error}") from None


def keep_running(start: Callable[[], subprocess.Popen[bytes]], stop: threading.Event) -> int:
    """Starts the JVM again whenever it ends, until `stop` is set or it can't be kept up; the exit code."""
    short_lives = 0
    while not stop.is_set():
        started = time.monotonic()
        process = start()
        while process.poll() is None and not stop.wait(0.2):
            pass
        _end(process)
        if stop.is_set():
            log.info("stopped")
            break
        short_lives = short_lives + 1 if time.monotonic() - started < STEADY_SECONDS else 1
        log.error("the JVM ended", extra={"exit_code": process.returncode, "short_lives": short_lives})
        if short_lives >= MOST_STARTS:
            log.critical("giving up: the job ends soon after every start; its log in the work folder says why")
            return 1
        stop.wait(min(30.0, 2.0 ** (short_lives - 1)))
    return 0


def _start(arguments: argparse.Namespace, feed: Feed) -> subprocess.Popen[bytes]:
    setup = Setup(
        python=arguments.flink_python,
        checkpoints=arguments.checkpoints,
        checkpoint_seconds=arguments.checkpoint_interval,
        job_id=job_id(feed.name),
        max_shards=max_shards(arguments, feed),
        rest_port=arguments.rest_port,
        metrics_port=arguments.metrics_port,
        s3_endpoint=s3_endpoint(),
    )
    folder = arguments.work_dir.resolve()
    environment = assemble(folder, setup)
    checkpoint = newest(setup.checkpoints, setup.job_id)
    log.info("starting the job", extra={"feed": feed.name, "checkpoint": checkpoint, "job_id": setup.job_id})
    command = _command(arguments, feed, checkpoint)
    with (folder / "log" / "flink.out").open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _command(arguments: argparse.Namespace, feed: Feed, checkpoint: str | None) -> Sequence[str]:
    restore = ["--fromSavepoint", checkpoint, "--claimMode", "claim"] if checkpoint else []
    return [
        *(str(distribution(arguments.flink_python) / "bin" / "flink"), "run", "--target", "local", *restore),
        *("-py", str(JOB), *job_arguments(arguments, feed)),
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the JVM, then SIGKILL to whatever is left of its process group."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _die_with_parent() -> None:
    """The JVM must not outlive a supervisor that is killed: a second one would be started beside it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _require_free_port(port: int, flag: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            raise Refused(f"port {port} is in use: stop what listens there, or choose another {flag}") from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flink.run", description=main.__doc__)
    add_job_flags(parser)
    parser.add_argument("--checkpoints", required=True, metavar="S3", help="for example s3://bucket/checkpoints/")
    parser.add_argument("--work-dir", type=Path, required=True, help="logs, configuration and temporary files")
    parser.add_argument("--rest-port", type=int, default=8081, help="Flink's REST API and page (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=9105, help="Prometheus metrics (%(default)s)")
    parser.add_argument(
        "--flink-python",
        type=Path,
        default=ROOT / ".venv" / "flink" / "bin" / "python",
        help="the interpreter of the environment with PyFlink (%(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
