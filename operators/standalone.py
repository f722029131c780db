"""Follows policies from files on this machine, without a cluster: the same decisions, pipelines as local processes."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from loopcast.service import Part
from operators import metrics
from operators.claims import ClaimTable
from operators.engine import Engine, Outcome
from operators.event_time import NoMinutes
from operators.launchers.local import LocalLauncher
from operators.models import iso
from operators.observe import AwsObserver
from operators.policies import Policy, PolicyError, load_policies, reconcile

log = logging.getLogger(__name__)


@dataclass
class State:
    """What the standalone operator keeps in `folder`: statuses, what was decided, and who it is."""

    folder: Path
    statuses: dict[str, Any] = field(default_factory=dict)
    _lock: TextIO | None = None

    def open(self) -> None:
        """Exits with a sentence when another operator has the folder open."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SystemExit(f"another operator keeps its state in {self.folder}: choose another --state") from error
        with suppress(OSError, ValueError):
            self.statuses = dict(json.loads((self.folder / "status.json").read_text()))

    @property
    def owner(self) -> str:
        """The same after a restart, so that a claim that this operator did not get to launch is its own still."""
        path = self.folder / "owner"
        if not path.exists():
            path.write_text(f"{os.uname().nodename}-{uuid4().hex[:8]}")
        return path.read_text()

    def of(self, policy: Policy) -> Any:
        """The policy's status; a new one where none can be read."""
        with suppress(ValueError):
            return policy.kind.status.model_validate(self.statuses.get(policy.key, {}))
        return policy.kind.status()

    def keep(self, policy: Policy, status: Any) -> None:
        self.statuses[policy.key] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        part = self.folder / "status.part"
        part.write_text(json.dumps(self.statuses, indent=2), encoding="utf-8")
        part.replace(self.folder / "status.json")

    def append(self, entry: dict[str, Any]) -> None:
        with (self.folder / "decisions.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


@dataclass
class Standalone:
    """An operator over `paths`, which it reads anew at each look."""

    part: Part
    paths: Sequence[Path]
    state: State
    engine: Engine
    launcher: LocalLauncher
    _said: dict[str, tuple[str, str]] = field(default_factory=dict)
    _policies: list[Policy] = field(default_factory=list)

    def look(self) -> None:
        """One look at every policy; what fails is looked at again the next time."""
        followed = [self._follow(policy) for policy in self._read()]
        self.part.health.ready = all(followed)
        self.part.health.beat()

    def stop(self) -> None:
        for name in self.launcher.cancel_all():
            log.info("cancelled", extra={"run_id": name})

    def _read(self) -> list[Policy]:
        """The policies for this feed; the ones before while a file has a mistake."""
        try:
            self._policies = [policy for policy in load_policies(self.paths) if policy.spec.feed == self.part.feed.name]
        except PolicyError as error:
            log.error("a policy can't be used: the ones before stay in force", extra={"error": str(error)})
        return self._policies

    def _follow(self, policy: Policy) -> bool:
        try:
            outcome = reconcile(self.engine, policy, self.state.of(policy))
        except NoMinutes as error:
            log.info("waiting for the first minute", extra={"policy": policy.name, "error": str(error)})
            return True
        except (BotoCoreError, ClientError) as error:
            metrics.failed(policy)
            log.warning("a policy could not be looked at", extra={"policy": policy.name, "error": str(error)})
            return False
        except Exception:  # a mistake in one policy's way must not end the others
            metrics.failed(policy)
            log.exception("a policy could not be looked at", extra={"policy": policy.name})
            return False
        metrics.decided(policy, outcome)
        self.state.keep(policy, outcome.status)
        self._tell(policy, outcome)
        return True

    def _tell(self, policy: Policy, outcome: Outcome[Any]) -> None:
        """Says what was decided, once as long as it stays the same."""
        said = (outcome.decision.reason, outcome.decision.message)
        if self._said.get(policy.key) == said and outcome.run is None:
            return
        self._said[policy.key] = said
        entry = decision_entry(policy, outcome, datetime.fromtimestamp(self.part.clock.now(), UTC))
        self.state.append(entry)
        log.info("decided", extra={key: value for key, value in entry.items() if key != "message"} | {"said": said[1]})


def decision_entry(policy: Policy, outcome: Outcome[Any], wall: datetime) -> dict[str, Any]:
    """A line of decisions.jsonl. `run_id` is what was launched, or ''; `event_time` the data's, `time` the wall's."""
    run = outcome.run
    return {
        "time": f"{wall:%Y-%m-%dT%H:%M:%S}.{wall.microsecond // 1000:03d}Z",
        "event_time": iso(outcome.now),
        "kind": policy.kind.name,
        "policy": policy.name,
        "reason": outcome.decision.reason,
        "message": outcome.decision.message,
        "state": outcome.status.state,
        "pipeline": run.pipeline if run else "",
        "run_id": run.id if run else "",
        "tags": dict(run.tags) if run else {},
    }


def work(part: Part, paths: Sequence[Path], folder: Path, feed_path: Path, poll_seconds: float) -> None:
    """Follows the policies until the part is told to stop; then ends the runs that it started."""
    check_policies(paths, part.feed.name)
    state = State(folder)
    state.open()
    launcher = LocalLauncher(feed_path.resolve(), folder.resolve())
    claims = ClaimTable(part.names.launches_table, state.owner, part.clock.now)
    engine = Engine(claims, launcher, AwsObserver(part.names, part.clock))
    operator = Standalone(part, paths, state, engine, launcher)
    try:
        while not part.stop.requested:
            operator.look()
            part.stop.wait(poll_seconds)
    finally:
        operator.stop()


def check_policies(paths: Sequence[Path], feed: str) -> None:
    """Says which policies are for other feeds. Exits with a sentence when none is for this one or one is mistaken."""
    try:
        found = load_policies(paths)
    except PolicyError as error:
        raise SystemExit(f"loopcast: {error}") from error
    others = [policy for policy in found if policy.spec.feed != feed]
    for policy in others:
        log.warning("a policy for another feed is not followed", extra={"policy": policy.key, "feed": policy.spec.feed})
    if len(others) == len(found):
        raise SystemExit(f"loopcast: no policy for the feed {feed} is in {', '.join(map(str, paths))}")
