"""A tiny image: what it does in a test is said by its hyperparameters or its environment."""

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])


def train() -> None:
    """Writes what it saw into the model; then does what the hyperparameter `do` says."""
    hyperparameters = json.loads((BASE / "input/config/hyperparameters.json").read_text())
    _see(hyperparameters)
    if hyperparameters.get("do") == "say-nothing":
        return
    print("epoch=0 loss=2.5", flush=True)
    print("epoch=1 loss=0.25", flush=True)
    if hyperparameters.get("do") == "objective":
        print(f"loss={hyperparameters['offset']}", flush=True)
        return
    _do(hyperparameters.get("do", "succeed"))


def _see(hyperparameters: dict[str, str]) -> None:
    files = {str(path.relative_to(BASE)): path.read_text() for path in (BASE / "input").rglob("*") if path.is_file()}
    (BASE / "model" / "saw.json").write_text(
        json.dumps({"hyperparameters": hyperparameters, "files": files, "environment": dict(os.environ)})
    )


def _do(what: str) -> None:
    deeds = {
        "succeed": lambda: None,
        "fail": lambda: _fail("the data is bad", 1),
        "refuse": lambda: _fail("ClientError: epochs must be positive", 2),
        "leave-output": lambda: (BASE / "output/data/report.txt").write_text("as it went"),
        "checkpoint": _checkpoint,
        "sleep": lambda: time.sleep(600),
        "wait-for-file": _wait_for_file,
        "ignore-sigterm": _ignore_sigterm,
        "leave-child": lambda: os.fork() or time.sleep(600),
        "exhaust": _exhaust,
        "meet": _meet,
        "fail-on-second": lambda: (
            _fail("ClientError: the second is bad", 3) if _host() == "algo-2" else time.sleep(600)
        ),
    }
    deeds[what]()


def _fail(reason: str, code: int) -> None:
    (BASE / "output" / "failure").write_text(reason)
    sys.exit(code)


def _checkpoint() -> None:
    with (BASE / "checkpoints" / "steps.txt").open("a") as file:
        file.write("a step\n")


def _host() -> str:
    return str(json.loads((BASE / "input/config/resourceconfig.json").read_text())["current_host"])


def _meet() -> None:
    """The first host listens, the others come: each leaves a file that names it, and what it has heard."""
    address = ("algo-1", int(os.environ.get("MASTER_PORT", "7777")))
    if _host() == "algo-1":
        with socket.create_server(address) as server:
            heard = server.accept()[0].recv(100).decode()
    else:
        heard = os.environ["SM_CURRENT_HOST"]
        _connect(address).sendall(heard.encode())
    (BASE / "model" / f"{_host()}.txt").write_text(heard)


def _connect(address: tuple[str, int]) -> socket.socket:
    while True:
        try:
            return socket.create_connection(address)
        except ConnectionRefusedError:
            time.sleep(0.02)


def _wait_for_file() -> None:
    while not Path(os.environ["WAIT_FOR"]).exists():
        time.sleep(0.02)


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def _exhaust() -> None:
    """Takes all the memory that it can get."""
    taken = []
    while True:
        taken.append(bytearray(1 << 24))


class Model(BaseHTTPRequestHandler):
    """Answers with what it was asked, and by whom it is; the bodies `bad` and `broken` are errors, `die` ends it, and
    `die-` and a greeting ends the one of that greeting."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(500 if os.environ.get("SICK") else 200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body in (b"die", f"die-{os.environ.get('GREETING', '')}".encode()) or os.environ.get("BROKEN"):
            os._exit(7)
        if body == b"slow":
            time.sleep(0.5)
        status = {b"bad": 400, b"broken": 500}.get(body, 200)
        self._answer(status, self._says(body))

    def _says(self, body: bytes) -> bytes:
        if os.environ.get("SAGEMAKER_BATCH"):
            return b"\n".join(self._prefix() + line for line in body.splitlines())
        return self._prefix() + body

    def _prefix(self) -> bytes:
        model = BASE / "model" / "name.txt"
        name = model.read_text() if model.exists() else "no-model"
        return f"{name}/{os.environ.get('GREETING', '')}:".encode()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Accept", "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def serve() -> None:
    if os.environ.get("CRASH"):
        sys.exit("this model can't be loaded")
    address = ("", int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
    ThreadingHTTPServer(address, Model).serve_forever()


if __name__ == "__main__":
    {"train": train, "serve": serve}[sys.argv[1]]()
