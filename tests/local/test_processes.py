"""The stack's programs start, are found again, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.processes import Processes, Program, StackError
from tests.conftest import free_port

SERVER = """
import http.server, subprocess, sys, signal
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session={detached})
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *arguments): pass
if {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def server(detached: bool = False, stubborn: bool = False) -> Program:
    port = free_port()
    code = SERVER.format(detached=detached, stubborn=stubborn)
    return Program(
        name="server",
        command=[sys.executable, "-c", code, str(port)],
        ports={"http": port},
        health=f"http://127.0.0.1:{port}/",
        start_seconds=20,
    )


def started(folder: Path, program: Program) -> tuple[Processes, list[psutil.Process]]:
    processes = Processes(folder)
    processes.start(program)
    processes.wait_until_healthy(program)
    leader = psutil.Process(processes.pid(program.name))
    return processes, [leader, *leader.children(recursive=True)]


def all_gone(family: list[psutil.Process]) -> bool:
    _gone, alive = psutil.wait_procs(family, timeout=10)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_program_that_is_stopped_takes_its_children_with_it(tmp_path: Path) -> None:
    processes, family = started(tmp_path, server())
    assert len(family) == 2
    processes.stop("server")
    assert all_gone(family)
    assert processes.names() == []


def test_a_child_that_left_the_group_is_stopped_too(tmp_path: Path) -> None:
    processes, family = started(tmp_path, server(detached=True))
    processes.stop_all()
    assert all_gone(family)


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.processes.STOP_SECONDS", 0.5)
    processes, family = started(tmp_path, server(stubborn=True))
    processes.stop_all()
    assert all_gone(family)


def test_another_command_finds_the_programs_again_and_starts_none_twice(tmp_path: Path) -> None:
    program = server()
    processes, family = started(tmp_path, program)
    later = Processes(tmp_path)
    assert later.pid("server") == processes.pid("server")
    later.start(program)
    assert later.pid("server") == family[0].pid
    later.stop_all()
    assert all_gone(family)
    assert processes.pid("server") is None


def test_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    processes, family = started(tmp_path, server())
    record = tmp_path / "run" / "server.json"
    record.write_text(record.read_text().replace('"started": ', '"started": 1'))
    assert Processes(tmp_path).pid("server") is None
    processes.stop_all()
    assert all_gone(family)


def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path) -> None:
    program = server()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", program.ports["http"]))
        taken.listen()
        with pytest.raises(StackError, match=rf"port {program.ports['http']}, which server .* is in use: stop"):
            Processes(tmp_path).start(program)


def test_a_program_that_dies_at_its_start_is_reported_with_what_it_said(tmp_path: Path) -> None:
    program = Program("broken", [sys.executable, "-c", "raise SystemExit('no such table')"], {}, "http://127.0.0.1:9/")
    processes = Processes(tmp_path)
    processes.start(program)
    with pytest.raises(StackError, match="no such table"):
        processes.wait_until_healthy(program)


def test_a_program_that_never_gets_up_is_reported_in_time(tmp_path: Path) -> None:
    code = "import time; time.sleep(600)"
    program = Program("slow", [sys.executable, "-c", code], {}, "http://127.0.0.1:9/", start_seconds=0.3)
    processes = Processes(tmp_path)
    began = time.monotonic()
    processes.start(program)
    with pytest.raises(StackError, match="slow is not up after"):
        processes.wait_until_healthy(program)
    assert time.monotonic() - began < 60
    processes.stop_all()


DRIVER = """
import signal, sys, time
from pathlib import Path
from local.processes import Processes
def end(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
processes = Processes(Path(sys.argv[1]))
processes.enter("driver")
try:
    print("entered", flush=True)
    time.sleep(600)
finally:
    processes.stop_all()
    print("ended", flush=True)
"""


def test_a_command_that_entered_itself_is_found_and_ended_by_another(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "entered\n"
        others = Processes(tmp_path)
        assert others.pid("driver") == driver.pid
        others.stop("driver")
        assert driver.stdout.read() == "ended\n"
    assert others.names() == []


def test_a_second_ctrl_c_does_not_cut_the_stop_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes, family = started(tmp_path, server())
    stop = processes.stop

    def interrupted_stop(name: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        stop(name)

    monkeypatch.setattr(processes, "stop", interrupted_stop)
    processes.stop_all()
    assert all_gone(family)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
