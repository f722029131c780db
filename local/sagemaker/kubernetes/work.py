"""What carriers ask of this server: a program's files, what to do, and to take what the program left.

A carrier proves by its token that the files are its program's own. The paths are those of folders below the state.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import shutil
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from local.sagemaker import programs
from local.sagemaker.archives import unpack
from local.sagemaker.kubernetes import logs, pods
from local.sagemaker.kubernetes.client import Api
from local.sagemaker.kubernetes.view import View

Json = dict[str, Any]
TOKEN, RUN, ENDED = "token", "run", "ended"
_FOLDER = re.compile(r"[A-Za-z0-9-]+(/[A-Za-z0-9-]+)+")
_CHUNK = 1 << 18


def url_of(base: str, folder: str) -> str:
    """Where the carrier of the program in `folder`, below the state, finds its work."""
    return f"{base.rstrip('/')}/programs/{folder}"


class Work:
    """Answers the carriers of all programs below `state`."""

    def __init__(self, api: Api, view: View, state: Path) -> None:
        self._api, self._view, self._state = api, view, state

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/programs/{folder:path}/files", self._files, methods=["GET"]),
            Route("/programs/{folder:path}/files", self._store, methods=["PUT"]),
            Route("/programs/{folder:path}/order", self._order, methods=["GET"]),
        ]

    async def _files(self, request: Request) -> Response:
        folder = self._folder(request)
        if folder is None or not (folder / "opt" / "ml").is_dir():
            return _unknown()
        return StreamingResponse(_archived(folder / "opt" / "ml"), media_type="application/x-tar")

    async def _order(self, request: Request) -> Response:
        folder = self._folder(request)
        if folder is None:
            return _unknown()
        return JSONResponse(await run_in_threadpool(self._decide, folder, request.headers.get("X-Pod", "")))

    async def _store(self, request: Request) -> Response:
        folder = self._folder(request)
        if folder is None:
            return _unknown()
        partial = folder / f"left-{secrets.token_hex(4)}.tar"
        with partial.open("wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        try:
            return JSONResponse({"exit_code": await run_in_threadpool(_take, folder, partial)})
        except (tarfile.TarError, OSError) as error:
            return PlainTextResponse(f"these files can't be taken: {error}\n", 400)
        finally:
            partial.unlink(missing_ok=True)

    def _decide(self, folder: Path, pod_name: str) -> Json:
        """What the carrier in the pod is to do."""
        found = self._view.look().pods.get((folder / RUN).read_text(), [])
        pod = next((pod for pod in found if pod["metadata"]["name"] == pod_name), None)
        terminated = None if pod is None else pods.ended(pod)
        if terminated is not None:
            logs.pull(self._api, folder, pod_name)
            (folder / ENDED).write_text(json.dumps(terminated))
            return {"do": "store"}
        stop: Json | None = None
        with suppress(OSError, ValueError):
            stop = json.loads((folder / "stop").read_text())
        if stop is None:
            return {"do": "wait"}
        over = time.time() > stop["since"] + stop["grace"]
        return {"do": "signal", "number": int(signal.SIGKILL if over else signal.SIGTERM)}

    def _folder(self, request: Request) -> Path | None:
        """The folder that the request's token opens."""
        path = request.path_params["folder"]
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not _FOLDER.fullmatch(path):
            return None
        try:
            token = (self._state / path / TOKEN).read_text()
        except OSError:
            return None
        return self._state / path if hmac.compare_digest(token.encode(), given.encode()) else None


def _take(folder: Path, archive: Path) -> int:
    """Unpacks what the program left, and only then notes how it ended; its exit code."""
    code = programs.exit_code(folder)
    if code is not None:
        return code  # the carrier asks again because our answer was lost
    terminated = json.loads((folder / ENDED).read_text())
    code = int(terminated["exitCode"])
    unpacked = folder / "left"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        unpack(tar, unpacked)
    shutil.copytree(unpacked, folder / "opt" / "ml", dirs_exist_ok=True)
    shutil.rmtree(unpacked, ignore_errors=True)
    failure = folder / "opt" / "ml" / "output" / "failure"
    if terminated.get("reason") == "OOMKilled" and not failure.exists():
        failure.parent.mkdir(exist_ok=True)
        failure.write_text("the program used more memory than its pod may")
    (folder / "exit_code.partial").write_text(str(code))
    (folder / "exit_code.partial").rename(folder / "exit_code")
    return code


def _archived(folder: Path) -> Iterator[bytes]:
    """A tar stream of the folder, made while it is read."""
    reading, writing = os.pipe()
    errors: list[OSError] = []

    def write() -> None:
        try:
            with os.fdopen(writing, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as tar:
                for path in sorted(folder.iterdir()):
                    tar.add(path, path.name, filter=_anyones)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        while chunk := pipe.read(_CHUNK):
            yield chunk
    thread.join()
    if errors:
        raise errors[0]  # the answer breaks off, and who reads it knows that it isn't whole


def _anyones(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The files belong to whoever unpacks them."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _unknown() -> Response:
    return PlainTextResponse("no program's files are here, or the token is not theirs\n", 404)
