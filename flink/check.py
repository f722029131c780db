"""Watches whether the job works: it runs with all its tasks, completes a checkpoint, and reads the stream.

With --flow, events must also have been read meanwhile and the watermark must have moved. Ends with 0 once all of that
was seen, and with 1 and a sentence for each thing that was not within --seconds. It only reads.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from flink.metrics import FlinkMetrics, parse
from flink.probe import wrong

INTERVAL = 2.0
"""Seconds between two looks."""
_TIMEOUT = 5


class Watch:
    """What has been seen so far, by what is asked for."""

    def __init__(self, flow: bool) -> None:
        self._flow = flow
        self._first: dict[str, int] = {}
        self._risen: set[str] = set()
        self._job: str | None = "it was not asked yet"
        self._reading = False

    def look(self, overview: dict[str, list[dict[str, Any]]], metrics: FlinkMetrics) -> None:
        """Takes notice of the REST API's overview of jobs and of the metrics of all pods."""
        self._job = wrong(overview)
        self._reading = metrics.behind is not None
        self._rose("checkpoint", metrics.last_checkpoint)
        self._rose("records", metrics.records_in)
        self._rose("watermark", metrics.watermark)

    def missing(self) -> list[str]:
        """A sentence for each thing that was not seen."""
        found = [self._job] if self._job else []
        if "checkpoint" not in self._risen:
            found.append("no checkpoint was completed meanwhile")
        if not self._reading:
            found.append("no shard of the stream is read")
        if self._flow and "records" not in self._risen:
            found.append("no event was read meanwhile")
        if self._flow and "watermark" not in self._risen:
            found.append("the watermark did not move")
        return found

    def _rose(self, what: str, value: int | None) -> None:
        if value is None:
            return
        first = self._first.setdefault(what, value)
        if value < first:  # it counts anew after a restart
            self._first[what] = value
        elif value > first:
            self._risen.add(what)


def main() -> None:
    arguments = _arguments()
    watch, deadline, error = Watch(arguments.flow), time.monotonic() + arguments.seconds, ""
    while watch.missing() and time.monotonic() < deadline:
        try:
            overview = json.loads(_text(f"{arguments.rest}/jobs/overview"))
            watch.look(overview, parse("".join(_text(url) for url in _pods(arguments.metrics))))
            error = ""
        except (OSError, ValueError) as problem:
            error = str(problem)
        if watch.missing():
            time.sleep(INTERVAL)
    if watch.missing():
        sentences = [*watch.missing(), *([error] if error else [])]
        sys.exit("\n".join(f"flink.check: {sentence}" for sentence in sentences))
    print("the job runs, checkpoints and reads")


def _pods(urls: list[str]) -> Iterator[str]:
    """The URL at each address that its host has: a Service without an address of its own names all of its pods."""
    for url in urls:
        parts = urlsplit(url)
        for address in sorted({info[4][0] for info in socket.getaddrinfo(parts.hostname, parts.port, socket.AF_INET)}):
            yield f"{parts.scheme}://{address}:{parts.port}{parts.path}"


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310
        return str(answer.read().decode())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flink.check", description=__doc__)
    parser.add_argument("--rest", required=True, metavar="URL", help="the JobManager's REST API, http://HOST:8081")
    parser.add_argument(
        "--metrics", required=True, action="append", metavar="URL", help="of its pods, http://HOST:9249/; repeat it"
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="%(default)s")
    parser.add_argument("--flow", action="store_true", help="events come in meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
