"""Sends a program's log to CloudWatch Logs while it grows. The file in the program's folder remains."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from loopcast import aws

_BATCH = 1000  # lines; a call takes ten times as many, and a mebibyte
_LONGEST_LINE = 1000

log = logging.getLogger(__name__)


class LogShipper:
    """Sends what is new in the file at `path` to `stream` of `group`. Where it has come to lies in a file beside it, so
    that the next server goes on from there. A log that can't be sent is lost there: no job fails for it."""

    def __init__(self, path: Path, group: str, stream: str) -> None:
        self._path = path
        self._position = path.with_name("log.position")
        self._group, self._stream = group, stream
        self._broken = False

    def ship(self) -> None:
        """Sends the lines that were added since the last call."""
        lines, position = self._new_lines()
        if not lines or self._broken:
            return
        try:
            self._create_stream()
            for first in range(0, len(lines), _BATCH):
                self._put(lines[first : first + _BATCH])
            self._position.write_text(str(position))
        except (BotoCoreError, ClientError, OSError) as error:  # OSError: the folder was deleted meanwhile
            self._broken = True
            log.warning("a log can't be sent", extra={"group": self._group, "reason": str(error)})

    def _new_lines(self) -> tuple[list[str], int]:
        position = 0
        with suppress(OSError, ValueError):
            position = int(self._position.read_text())
        try:
            with self._path.open("rb") as file:
                file.seek(position)
                content = file.read()
        except OSError:
            return [], position
        whole = content[: content.rfind(b"\n") + 1]
        return whole.decode(errors="replace").splitlines(), position + len(whole)

    def _put(self, lines: list[str]) -> None:
        moment = int(time.time() * 1000)
        events = [{"timestamp": moment, "message": line[:_LONGEST_LINE] or " "} for line in lines]
        aws.client("logs").put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)

    def _create_stream(self) -> None:
        logs = aws.client("logs")
        if self._position.exists():
            return
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=self._group)
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
