"""A container's log, fetched bit by bit into a file, each line once."""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from pathlib import Path

from local.sagemaker.kubernetes.client import Api, ApiError
from local.sagemaker.kubernetes.manifests import PROGRAM

_FRACTION = re.compile(r"\.\d+")
_locks: dict[Path, threading.Lock] = {}


def pull(api: Api, folder: Path, pod: str, *, restarted: bool = False) -> None:
    """Adds what the program in `pod` has said since the last call to `log` in `folder`; of one that was `restarted`
    also what it said before. A pod that isn't there, or hasn't started, has said nothing.

    Each line comes with its time. That of the last one lies beside the log, so that the next server goes on after it.
    """
    with _locks.setdefault(folder, threading.Lock()):
        position = folder / "log.since"
        known: dict[str, str] = {}
        with suppress(OSError, ValueError):
            known = json.loads(position.read_text())
        for previous in ("true", "false") if restarted else ("false",):
            text, last = _news(api, pod, known.get(pod, ""), previous)
            if not text:
                continue
            with suppress(OSError), (folder / "log").open("ab") as file:  # OSError: the folder was deleted meanwhile
                file.write(text)
                known[pod] = last
                position.write_text(json.dumps(known))


def _news(api: Api, pod: str, since: str, previous: str) -> tuple[bytes, str]:
    """The lines after the time `since`, and the time of the last of them."""
    query = {"container": PROGRAM, "timestamps": "true", "previous": previous}
    if since:
        query["sinceTime"] = _FRACTION.sub("", since)  # whole seconds: what was read before is left out below
    try:
        answer = api.log(pod, **query)
    except ApiError:
        return b"", since
    lines = []
    for line in answer.split(b"\n"):
        time, _, said = line.partition(b" ")
        if time.decode(errors="replace") > since:
            lines.append(said + b"\n")
            since = time.decode(errors="replace")
    return b"".join(lines), since
