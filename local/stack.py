"""The whole stack on this machine: `python -m local.stack up|status|down|destroy`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from local import parts
from local.parts import Settings
from local.processes import Processes, Program, StackError, require_free_ports
from loopcast.feed import Feed, FeedError, load_feed

SUPERVISOR = "supervisor"
APPLY_SECONDS = 120
LEDGER_VALUES = ("fee", "size", "weight")
"""What the replayed source's ledger knows of a transaction: a feed that reads more can't be checked against it."""
_LONGEST_BACK_OFF = 30.0


class Stack:
    """A stack of `settings`; everything it writes lies under `settings.folder`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.processes = Processes(settings.folder)
        self._stopping = threading.Event()

    @property
    def programs(self) -> list[Program]:
        return [*parts.services(self.settings), *parts.flow(self.settings)]

    def up(self, progress: Callable[[str], None]) -> None:
        """Starts every part and returns when all are healthy. Raises `StackError`."""
        for program in self.programs:
            if not self.processes.pid(program.name):
                require_free_ports(program)
        self.remember()
        progress("starting AWS and SageMaker on this machine")
        self._start(parts.services(self.settings))
        progress("applying the AWS resources in manifests/aws")
        self.apply("apply")
        parts.write_policies(self.settings)
        progress("starting Flink, the source, the ingestion programs and the operator")
        self._start(parts.flow(self.settings))

    def remember(self) -> None:
        """Writes the settings down, so that `read_stack` finds the stack again."""
        known = {
            "feed": str(self.settings.feed_path),
            "source": self.settings.source,
            "recording": str(self.settings.recording) if self.settings.recording else None,
            "speed": self.settings.speed,
            "first_port": self.settings.first_port,
            "source_options": list(self.settings.source_options),
        }
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        (self.settings.folder / "settings.json").write_text(json.dumps(known, indent=2))

    def apply(self, *arguments: str) -> str:
        """Runs the applier; returns what it says. Raises `StackError` with its last lines when it fails."""
        command = parts.applier_command(*arguments, "--feed", str(self.settings.feed_path))
        environment = {**os.environ, **self.settings.environment}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=APPLY_SECONDS, check=False
        )
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise StackError(f"the applier could not {arguments[0]} the AWS resources:\n{said}")
        return done.stdout

    def watch(self) -> None:
        """Starts again what has stopped, with a growing pause, until `stop_watching`."""
        pauses = dict.fromkeys((program.name for program in self.programs), 0.0)
        due = dict.fromkeys(pauses, 0.0)
        while not self._stopping.wait(1.0):
            for program in self.programs:
                if not self.processes.pid(program.name) and time.monotonic() >= due[program.name]:
                    pauses[program.name] = min(_LONGEST_BACK_OFF, pauses[program.name] * 2 or 1.0)
                    due[program.name] = time.monotonic() + pauses[program.name]
                    self._restart(program)

    def stop_watching(self) -> None:
        self._stopping.set()

    def down(self) -> None:
        self.stop_watching()
        self.processes.stop_all()

    def _start(self, programs: Sequence[Program]) -> None:
        for program in programs:
            self.processes.start(program)
        for program in programs:
            self.processes.wait_until_healthy(program)

    def _restart(self, program: Program) -> None:
        print(f"{program.name} had stopped: starting it again", file=sys.stderr, flush=True)
        try:
            self.processes.start(program)
        except StackError as error:
            print(error, file=sys.stderr, flush=True)


def folder_of(command: str) -> Path:
    """The stack's folder: `make demo` and `make up` keep theirs apart."""
    return parts.default_folder() / command / "stack"


def running_stack() -> Stack | None:
    """The stack that runs on this machine from this checkout, if any."""
    for command in ("up", "demo"):
        folder = folder_of(command)
        if Processes(folder).names() and (stack := read_stack(folder)):
            return stack
    return None


def read_stack(folder: Path) -> Stack | None:
    """The stack whose settings lie in `folder`."""
    try:
        known = json.loads((folder / "settings.json").read_text())
    except OSError:
        return None
    path = Path(known["feed"])
    return Stack(
        Settings(
            feed_path=path,
            feed=load_feed(path),
            folder=folder,
            source=known["source"],
            recording=Path(known["recording"]) if known["recording"] else None,
            speed=known["speed"],
            first_port=known["first_port"],
            source_options=tuple(known["source_options"]),
        )
    )


def _up(arguments: argparse.Namespace) -> None:
    running = running_stack()
    if running and running.processes.pid(SUPERVISOR):
        raise StackError("a stack is running already: make status shows it, make down stops it")
    stop_everything()
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:00Z}"
    settings = settings_from(arguments, folder_of("up"), speed=1.0, source_options=("--start", now))
    require_same_events(read_stack(settings.folder), settings)
    if settings.ledger.exists():  # the source goes on where it was
        settings = replace(settings, source_options=())
    stack = Stack(settings)
    try:
        stack.up(progress)
    except BaseException:
        stack.down()
        raise
    stack.processes.start(
        Program(
            name=SUPERVISOR,
            command=[sys.executable, "-m", "local.stack", "watch", "--folder", str(settings.folder)],
            ports={},
            health="",
        )
    )
    progress("the stack is up, at real time: make status shows it, make down stops it")


def require_same_events(kept: Stack | None, settings: Settings) -> None:
    """Raises `StackError` when the stack that was kept, and would go on, has other events than `settings`."""
    if kept is None:
        return
    before, now = kept.settings, settings
    if (before.feed.name, before.source, before.recording) != (now.feed.name, now.source, now.recording):
        recording = f" RECORDING={before.recording}" if before.recording else ""
        raise StackError(
            f"the stack in {now.folder} was begun with FEED={before.feed_path} SOURCE={before.source}{recording}: "
            "start it with these, or delete that folder to begin anew"
        )


def _watch(arguments: argparse.Namespace) -> None:
    stack = read_stack(arguments.folder)
    if stack is None:
        raise StackError(f"there is no stack in {arguments.folder}")

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stack.stop_watching()

    signal.signal(signal.SIGTERM, stop)
    stack.watch()


def _status(_arguments: argparse.Namespace) -> None:
    from local.status import describe  # imports what only this command needs

    stack = running_stack()
    if stack is None:
        print("nothing is running: make up starts the stack")
        return
    os.environ.update(stack.settings.environment)
    print(describe(stack))


def _down(_arguments: argparse.Namespace) -> None:
    print(f"stopped: {', '.join(stop_everything()) or 'nothing was running'}")


def _destroy(_arguments: argparse.Namespace) -> None:
    stack = running_stack()
    if stack is None:
        raise StackError("nothing is running: make up starts the stack whose AWS resources can be destroyed")
    if stack.settings.folder == folder_of("demo"):
        raise StackError("make demo is running, and its AWS resources end with it: make down ends it")
    stack.processes.stop(SUPERVISOR)
    for program in reversed(parts.flow(stack.settings)):
        stack.processes.stop(program.name)
    print(stack.apply("destroy", "--yes"), end="")
    stack.down()
    shutil.rmtree(stack.settings.folder)


def stop_everything() -> list[str]:
    """Stops what runs of any stack of this checkout; returns the names of the parts it found."""
    found = []
    for command in ("up", "demo"):
        processes = Processes(folder_of(command))
        found += processes.names()
        processes.stop(SUPERVISOR)  # else it would start again what is stopped
        processes.stop_all()
    return found


def progress(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """The options by which `up` and the demo choose what they run on."""
    default_feed = Path(os.environ.get("LOOPCAST_FEED") or parts.ROOT / "feeds" / "bitcoin-fees.yaml")
    parser.add_argument("--feed", type=Path, default=default_feed, help="the feed file (default: %(default)s)")
    parser.add_argument(
        "--source",
        choices=("simulated", "recording", "live"),
        default="simulated",
        help="a calibrated simulator, a recording (--recording), or the feed's own URL",
    )
    parser.add_argument("--recording", type=Path, help="a parquet file or a saved JSON answer, for --source recording")
    parser.add_argument(
        "--port", type=int, default=parts.FIRST_PORT, help="the first of ten ports (default: %(default)s)"
    )


def settings_from(
    arguments: argparse.Namespace, folder: Path, speed: float, source_options: Sequence[str] = ()
) -> Settings:
    """Settings from the options of `add_source_arguments`. Raises `StackError` when they don't fit together."""
    if arguments.source == "recording" and not arguments.recording:
        raise StackError("SOURCE=recording needs RECORDING=file: a parquet file or a saved JSON answer of the API")
    if arguments.recording and arguments.source != "recording":
        raise StackError(f"RECORDING goes with SOURCE=recording, and SOURCE is {arguments.source}")
    if arguments.recording and not arguments.recording.is_file():
        raise StackError(f"{arguments.recording} is not a file: RECORDING names a parquet file or a saved JSON answer")
    if not 0 < arguments.port <= parts.LAST_FIRST_PORT:
        raise StackError(f"PORT={arguments.port} is no first port: choose one from 1024 to {parts.LAST_FIRST_PORT}")
    feed = load_feed(arguments.feed)
    if arguments.source != "live":
        _require_replayable(feed, arguments.feed)
    return Settings(
        feed_path=arguments.feed,
        feed=feed,
        folder=folder,
        source=arguments.source,
        recording=arguments.recording,
        speed=1.0 if arguments.source == "live" else speed,
        first_port=arguments.port,
        source_options=() if arguments.source == "live" else tuple(source_options),
    )


def _require_replayable(feed: Feed, path: Path) -> None:
    """Raises `StackError` when the simulator and recordings, which are Bitcoin's, don't have what the feed reads."""
    event = feed.event
    replayed = {"source.items": "txs", "event.id": "hash", "event.time": "time", "event.time_unit": "s"}
    read = {
        **{"source.items": feed.source.items, "event.id": event.id},
        **{"event.time": event.time, "event.time_unit": event.time_unit},
    }
    wrong = [f"{field} is {read[field]}, not {wanted}" for field, wanted in replayed.items() if read[field] != wanted]
    wrong += [
        f"event.values.{name}.path is {value.path}, not one of {', '.join(LEDGER_VALUES)}"
        for name, value in event.values.items()
        if value.path not in LEDGER_VALUES
    ]
    if wrong:
        raise StackError(
            f"{path} reads other events than the simulator and recordings list ({'; '.join(wrong)}): use SOURCE=live"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.stack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the stack and leave it running at real time")
    add_source_arguments(up)
    up.set_defaults(run=_up)
    commands.add_parser("status", help="show every part's health, lag and last output").set_defaults(run=_status)
    commands.add_parser("down", help="stop everything").set_defaults(run=_down)
    commands.add_parser("destroy", help="delete every AWS resource, and stop").set_defaults(run=_destroy)
    watch = commands.add_parser("watch", help="start again what stops (make up does this by itself)")
    watch.add_argument("--folder", type=Path, required=True)
    watch.set_defaults(run=_watch)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (StackError, FeedError) as error:
        raise SystemExit(f"loopcast: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
