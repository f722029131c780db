"""Runs a command on every host of a training job: `python -m local.sagemaker.hosts FOLDER NAME... -- COMMAND...`

A host is a container of its own as far as contract.sh makes one, in FOLDER/hosts/NAME, and finds the others by name:
each has a loopback address. When one fails the others are stopped, and its exit code is the job's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from local.sagemaker import programs

LEADER = "algo-1"
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0
_VANISHED = 137


def names_of(count: int) -> list[str]:
    """algo-1 to algo-<count>."""
    return [f"algo-{number}" for number in range(1, count + 1)]


def folder_of(folder: Path, name: str) -> Path:
    """Where the host `name` of the job in `folder` lives."""
    return folder / "hosts" / name


def make_folders(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """What each host but the leader sees as /opt/ml, by its name; the leader's is the job's own, and so is its log."""
    shutil.rmtree(folder / "hosts", ignore_errors=True)
    if len(names) == 1:
        return {}
    leader = folder_of(folder, LEADER)
    leader.mkdir(parents=True)
    (leader / "opt").symlink_to(folder / "opt")
    (leader / "log").symlink_to(folder / "log")
    bases = {name: programs.make_folder(folder_of(folder, name)) for name in names if name != LEADER}
    for name in names:
        (folder_of(folder, name) / "etc-hosts").write_text(_addresses(names))
    return bases


def other_bases(folder: Path, names: Sequence[str]) -> list[Path]:
    """The /opt/ml of each host but the leader."""
    return [folder_of(folder, name) / "opt" / "ml" for name in names if name != LEADER]


def gather(folder: Path, names: Sequence[str]) -> None:
    """Adds what other hosts have left of model and output to the leader's, whose files count where both have one."""
    for base in other_bases(folder, names):
        for part in ("model", "output/data"):
            for file in sorted(path for path in (base / part).rglob("*") if path.is_file()):
                target = folder / "opt" / "ml" / part / file.relative_to(base / part)
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)


def command(folder: Path, names: Sequence[str], program: Sequence[str]) -> list[str]:
    """The command line that runs `program` on the hosts."""
    return [sys.executable, "-m", "local.sagemaker.hosts", str(folder), *names, "--", *program]


def _addresses(names: Sequence[str]) -> str:
    """/etc/hosts, with a loopback address for each host."""
    known = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
    return known + "".join(f"\n127.0.0.{number} {name}" for number, name in enumerate(names, 1)) + "\n"


def _run(folder: Path, names: Sequence[str], program: Sequence[str]) -> int:
    # Hosts of other jobs meet on this machine too.
    environment = {"MASTER_PORT": str(programs.free_port()), **os.environ}
    processes = {
        name: _start(folder_of(folder, name), program, {**environment, **_about(name, names)}) for name in names
    }
    signal.signal(signal.SIGTERM, lambda *_: None)  # the hosts have got it as well: wait for how they end
    while True:
        codes = {name: _exit_code(folder_of(folder, name), process) for name, process in processes.items()}
        failed = next((name for name in names if codes[name]), None)
        if failed is not None:
            print(f"the host {failed} has failed: the others are stopped", flush=True)
            _stop()
            return codes[failed] or _VANISHED
        if all(code == 0 for code in codes.values()):
            return 0
        time.sleep(_POLL_SECONDS)


def _start(folder: Path, program: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    prefix = programs.namespace_prefix() or ()
    line = [*prefix, "sh", str(programs.CONTRACT), str(folder), "private", *program]
    return subprocess.Popen(line, env=environment)


def _about(name: str, names: Sequence[str]) -> Mapping[str, str]:
    return {"SM_CURRENT_HOST": name, "SM_HOSTS": json.dumps(names), "SAGEMAKER_BASE_DIR": programs.BASE}


def _exit_code(folder: Path, process: subprocess.Popen[bytes]) -> int | None:
    """How the host ended; None while it runs."""
    over = process.poll() is not None
    code = programs.exit_code(folder)
    return _VANISHED if code is None and over else code


def _stop() -> None:
    """Stops what still runs on the hosts; their shells outlive a SIGTERM, so that it goes to all below them."""
    running = psutil.Process().children(recursive=True)
    for child in running:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    _, left = psutil.wait_procs(running, _GRACE_SECONDS)
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def main() -> None:
    folder, *rest = sys.argv[1:]
    split = rest.index("--")
    sys.exit(_run(Path(folder), rest[:split], rest[split + 1 :]))


if __name__ == "__main__":
    main()
