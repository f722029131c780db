"""What an operator needs of a place where pipelines run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from operators.runs import Run, RunState


class LaunchFailed(Exception):
    """The launch was refused, and would be again; the message is one sentence."""


class LauncherUnreachable(Exception):
    """Nothing is known: a later try may succeed. The message is one sentence."""


@dataclass(frozen=True)
class Progress:
    """How a run is; what keeps it from running, what it came to, or why it ended badly."""

    state: RunState
    message: str = ""


@dataclass(frozen=True)
class Recurring:
    """A pipeline to be run each `interval` of event time, never twice at once."""

    name: str
    pipeline: str
    interval: timedelta
    arguments: Mapping[str, str] = field(default_factory=dict)


class Launcher(Protocol):
    """A place where pipelines run. Every method may raise `LauncherUnreachable`."""

    def launch(self, run: Run) -> str:
        """Starts the run under its id, unless it was started before; returns the handle by which the place knows it.

        Raises `LaunchFailed`.
        """
        ...

    def progress(self, run: Run) -> Progress:
        """How the launched run is; one that the place knows nothing of has failed."""
        ...

    def cancel(self, run: Run) -> None:
        """Ends the run, if it runs."""
        ...

    def digest(self, pipeline: str) -> str:
        """What the compiled pipeline comes to: another text for each content; '' when unknown."""
        ...

    def ensure_recurring(self, recurring: Recurring, now: datetime) -> bool:
        """Makes the pipeline recur as it says; True when that changed anything. `now` is the event time."""
        ...

    def remove_recurring(self, name: str) -> bool:
        """Makes it recur no more, and ends nothing that runs; True when that changed anything."""
        ...
