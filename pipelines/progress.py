"""Follows a local run through what KFP prints: which step runs, how long it took, and why it failed."""

import io
import re
import time
from collections.abc import Callable
from typing import TextIO

_COLOUR = re.compile(r"\x1b\[\d+m")
_STARTS = re.compile(r" - INFO - Executing task '([\w-]+)'")
_ENDS = re.compile(r" - (?:INFO|ERROR) - Task '([\w-]+)' finished with status (SUCCESS|FAILURE)")
_RAISED = re.compile(r"\s*(?:[A-Za-z_]\w*\.)*([A-Z]\w*): (.+)")


class Progress(io.TextIOBase):
    """A standard output for KFP: all goes to `log`, and a line for each step to `tell`.

    `durations` has the seconds of each step that succeeded, `cause` the error of the last that failed.
    """

    def __init__(
        self, log: TextIO, tell: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.durations: dict[str, float] = {}
        self.cause = ""
        self.failed = ""
        self._log, self._tell, self._monotonic = log, tell, monotonic
        self._part, self._began = "", 0.0
        self._raised: list[str] = []

    def write(self, text: str) -> int:
        self._log.write(text)
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            self._read(_COLOUR.sub("", line))
        return len(text)

    def flush(self) -> None:
        self._log.flush()

    def _read(self, line: str) -> None:
        if _STARTS.search(line):
            self._began, self._raised = self._monotonic(), []
        elif end := _ENDS.search(line):
            self._end(end[1], end[2] == "SUCCESS")
        elif raised := _RAISED.fullmatch(line):
            self._raised = [raised[2] if raised[1] == "Refused" else f"{raised[1]}: {raised[2]}"]
        elif self._raised:  # an error's message may have several lines
            self._raised.append(line.strip())

    def _end(self, task: str, succeeded: bool) -> None:
        seconds = round(self._monotonic() - self._began, 1)
        if succeeded:
            self.durations[task] = seconds
            self._tell(f"  {task}: {seconds:.1f} s")
        else:
            self.failed, self.cause = task, " ".join(filter(None, self._raised)) or "it ended without saying why"
            self._tell(f"  {task}: failed after {seconds:.1f} s: {self.cause}")
