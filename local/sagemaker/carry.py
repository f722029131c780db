"""Carries a program's /opt/ml between its pod and SageMaker-local: `python -m local.sagemaker.carry fetch|keep`

`fetch` brings the files before the program starts. `keep` runs beside the program, in the same process namespace: it
asks SageMaker-local what to do, ends the program when told to, and takes what is new in /opt/ml back once it has ended.
It exits with 0 after a program that did its work and with 42 after one that failed; when the pod is taken away it does
not wait, and the Job begins anew elsewhere.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from local.sagemaker.archives import unpack as unpack_all

BASE = Path("/opt/ml")
FAILED = 42
_FETCHED = Path(tempfile.gettempdir()) / "fetched.json"
_POLL_SECONDS = 1.0
_CALL_SECONDS = 60.0
_FETCH_SECONDS = 600.0
_KEEP_SECONDS = 86_400.0
_NAMES_SECONDS = 600.0
_GONE = (403, 404)

T = TypeVar("T")


def main() -> None:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    url, token = os.environ["WORK_URL"], os.environ["WORK_TOKEN"]
    server = Server(url, token, os.environ.get("POD_NAME", socket.gethostname()))
    if arguments.step == "fetch":
        fetch(server, BASE, _FETCHED)
        _await_names([name for name in arguments.await_names.split(",") if name])
    else:
        sys.exit(keep(server, BASE, _FETCHED))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.sagemaker.carry", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=("fetch", "keep"))
    names = "hosts whose names must be known before the program starts"
    parser.add_argument("--await-names", default="", metavar="NAME,...", help=names)
    parser.epilog = "WORK_URL and WORK_TOKEN in the environment say where the files are, and prove whose they are."
    return parser


class Server:
    """SageMaker-local, as the pod `pod` sees it. It may be away for a while: then it is asked again."""

    def __init__(self, url: str, token: str, pod: str) -> None:
        self._url, self._token, self._pod = url.rstrip("/"), token, pod

    def files(self, use: Callable[[IO[bytes]], T]) -> T:
        """What `use` makes of the tar stream of the program's files."""
        return self._persist(lambda: self._with(self._request("GET", "files"), use), _FETCH_SECONDS)

    def order(self) -> dict[str, Any]:
        """What is to be done now."""
        return self._persist(lambda: self._with(self._request("GET", "order"), _json), _KEEP_SECONDS)

    def store(self, archive: Path) -> dict[str, Any]:
        """Hands over what the program left; answers how it ended."""

        def put() -> dict[str, Any]:
            with archive.open("rb") as body:
                request = self._request("PUT", "files", body)
                request.add_header("Content-Length", str(archive.stat().st_size))
                return self._with(request, _json)

        return self._persist(put, _KEEP_SECONDS)

    def _request(self, method: str, what: str, body: IO[bytes] | None = None) -> urllib.request.Request:
        headers = {"Authorization": f"Bearer {self._token}", "X-Pod": self._pod}
        return urllib.request.Request(f"{self._url}/{what}", data=body, headers=headers, method=method)  # noqa: S310

    @staticmethod
    def _with(request: urllib.request.Request, use: Callable[[IO[bytes]], T]) -> T:
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:  # noqa: S310 - a URL that we are given
            return use(answer)

    @staticmethod
    def _persist(call: Callable[[], T], seconds: float) -> T:
        """Calls until it succeeds. Exits when the program is known no more, or `seconds` have passed in vain."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return call()
            except urllib.error.HTTPError as error:
                if error.code in _GONE:
                    sys.exit(f"SageMaker-local knows this program no more: {error}")
                said: Exception = error
            except (OSError, http.client.HTTPException, tarfile.TarError, ValueError) as error:
                said = error
            if time.monotonic() > deadline:
                sys.exit(f"SageMaker-local did not answer in {seconds:.0f} s: {said}")
            time.sleep(_POLL_SECONDS)


def fetch(server: Server, base: Path, fetched: Path) -> None:
    """Brings the files to `base`, and notes in the file `fetched` what they were like."""

    def unpack(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            unpack_all(tar, base)

    server.files(unpack)
    fetched.write_text(json.dumps({name: _likeness(path) for name, path in _files(base)}))


def keep(server: Server, base: Path, fetched: Path) -> int:
    """Follows orders until the program has ended and what it left is stored; 0, or `FAILED` when the program failed."""
    while True:
        order = server.order()
        if order["do"] == "store":
            with tempfile.TemporaryDirectory() as folder:
                answer = server.store(_pack(base, json.loads(fetched.read_text()), Path(folder) / "left.tar"))
            return 0 if answer["exit_code"] == 0 else FAILED
        if order["do"] == "signal":
            _signal_others(int(order["number"]))
        time.sleep(_POLL_SECONDS)


def _pack(base: Path, fetched: dict[str, Any], archive: Path) -> Path:
    """What is new or changed since `fetch`, and the folders."""
    with tarfile.open(archive, "w") as tar:
        for name, path in _files(base):
            if fetched.get(name) != _likeness(path):
                tar.add(path, name)
    return archive


def _files(base: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(base.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(base).as_posix(), path


def _likeness(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, int(found.st_mtime_ns // 1000)]


def _signal_others(number: int) -> None:
    """Sends a signal to every process of the pod but the first, which holds it together, and ourselves."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(entry.name), number)


def _await_names(names: list[str]) -> None:
    deadline = time.monotonic() + _NAMES_SECONDS
    for name in names:
        while not _is_known(name):
            if time.monotonic() > deadline:
                sys.exit(f"the host {name} is not known after {_NAMES_SECONDS:.0f} s: its pod could not start")
            time.sleep(_POLL_SECONDS)


def _is_known(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def _json(stream: IO[bytes]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(stream.read())
    return answer


if __name__ == "__main__":
    main()
