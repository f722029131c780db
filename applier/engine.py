"""Plans, applies and deletes resources: those that don't wait for each other at the same time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from enum import Enum
from graphlib import TopologicalSorter

from botocore.exceptions import BotoCoreError, ClientError

from applier.compare import Difference, differences
from applier.kinds.core import Found
from applier.resources import Identity, Resource, sorter

READY_SECONDS = 600.0
RETRY_SECONDS = 90.0
PROGRESS_SECONDS = 10.0
_POLL_SECONDS = (0.1, 2.0)
WORKERS = 12

Say = Callable[[str], None]


class ApplyError(RuntimeError):
    """A resource that can't be brought to what is declared; the message says which and why."""


class Verb(Enum):
    """What is to be done to a resource."""

    CREATE = "create"
    UPDATE = "update"
    NOTHING = "unchanged"
    REFUSE = "refused"


@dataclass(frozen=True)
class Step:
    """What is to be done to one resource, and in which fields it differs from what is declared."""

    resource: Resource
    verb: Verb
    found: Found | None = None
    changed: tuple[Difference, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the spec that differ, under the API's names."""
        return frozenset(top_field(self.resource, difference) for difference in self.changed)

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.resource}: {self.verb.value}"
        return f"{self.resource}: {self.verb.value} ({'; '.join(map(str, self.changed))})"


@dataclass
class Waiter:
    """Waits with an end to it, and says so now and then."""

    say: Say
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = field(default=time.monotonic)

    def ticks(self, what: str, seconds: float) -> Iterator[None]:
        """Yields, ever more slowly, until `seconds` have passed; then raises `ApplyError`."""
        start, said, pause = self.now(), self.now(), _POLL_SECONDS[0]
        while True:
            yield
            now = self.now()
            if now - start > seconds:
                raise ApplyError(f"{what} after {seconds:.0f} s: look at it in AWS, then run this again")
            if now - said >= PROGRESS_SECONDS:
                said = now
                self.say(f"... {what} ({now - start:.0f} s)")
            self.sleep(pause)
            pause = min(pause * 1.5, _POLL_SECONDS[1])


def plan(resources: Sequence[Resource]) -> list[Step]:
    """What `apply` would do, in its order. Raises `ApplyError` when AWS can't be read."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(step_of, resources))


def step_of(resource: Resource) -> Step:
    """What is to be done to `resource`, from what AWS says of it."""
    with _named(resource):
        found = resource.kind.find(resource.spec)
    if found is None:
        return Step(resource, Verb.CREATE)
    if resource.create_only:
        return Step(resource, Verb.NOTHING, found)
    changed = tuple(
        difference
        for name, wanted in resource.spec.items()
        for difference in differences(wanted, found.fields.get(name), resource.kind.ack_name(name))
    )
    if not changed:
        return Step(resource, Verb.NOTHING, found)
    step = Step(resource, Verb.UPDATE, found, changed)
    return replace(step, verb=Verb.REFUSE) if impossible(step) else step


def impossible(step: Step) -> list[Difference]:
    """The differences of a step that no call can take away."""
    resource, found = step.resource, step.found
    return [
        difference
        for difference in step.changed
        if found and not resource.kind.can_change(top_field(resource, difference), resource.spec, found)
    ]


def refusals(step: Step) -> list[str]:
    """For a refused step, a sentence for each field that can't be changed."""
    return [
        f"{step.resource.lines.get(difference.path, step.resource.where)}: {step.resource}: "
        f"spec.{difference} can't be changed in place: put the old value back, "
        f"or delete the resource with what it holds and apply again"
        for difference in impossible(step)
    ]


def top_field(resource: Resource, difference: Difference) -> str:
    """The field of the spec in which the difference lies, under the API's name."""
    return resource.kind.field_names()[re.split(r"[.\[]", difference.path)[0]]


def apply(steps: Sequence[Step], waiter: Waiter) -> list[str]:
    """Does the steps, none of them refused; says what was done. Returns a sentence for each that failed."""
    by_identity = {step.resource.identity: step for step in steps}
    order = sorter(step.resource for step in steps)
    return _in_parallel(order, len(steps), lambda identity: _carry_out(by_identity[identity], waiter), waiter.say)


def delete(resources: Sequence[Resource], waiter: Waiter, *, emptied: bool = False) -> list[str]:
    """Deletes what is there of the resources, the last first, with what they hold if they are to be `emptied`.

    Returns a sentence for each that failed.
    """
    by_identity = {resource.identity: resource for resource in resources}
    order: TopologicalSorter[Identity] = TopologicalSorter()
    for resource in resources:
        order.add(resource.identity)
        for needed in resource.after & by_identity.keys():
            order.add(needed, resource.identity)
    return _in_parallel(
        order, len(resources), lambda identity: _remove(by_identity[identity], waiter, emptied), waiter.say
    )


def _carry_out(step: Step, waiter: Waiter) -> str:
    resource = step.resource
    with _named(resource):
        if step.verb is Verb.CREATE:
            _create(resource, waiter)
            return f"{resource}: created"
        if step.verb is Verb.UPDATE and step.found is not None:
            resource.kind.change(resource.spec, step.found, step.fields)
            _await_ready(resource, waiter)
            return f"{resource}: updated ({'; '.join(map(str, step.changed))})"
        _await_ready(resource, waiter, step.found)
    return f"{resource}: unchanged"


def _create(resource: Resource, waiter: Waiter) -> None:
    for _ in waiter.ticks(f"{resource}: still can't be created", RETRY_SECONDS):
        try:
            resource.kind.make(resource.spec)
            break
        except ClientError as error:
            if not resource.kind.retried or not re.search(resource.kind.retried, _sentence(error)):
                raise
    _await_ready(resource, waiter)
    resource.kind.complete(resource.spec, frozenset(resource.spec))


def _await_ready(resource: Resource, waiter: Waiter, found: Found | None = None) -> None:
    kind = resource.kind
    if not kind.status:
        return
    for _ in waiter.ticks(f"{resource}: not ready", READY_SECONDS):
        found = found or kind.find({kind.key: resource.spec[kind.key]})
        if found and found.status in kind.ready:
            return
        if found and found.status in kind.failed:
            reason = found.answer.get("FailureReason", "AWS gives no reason")
            raise ApplyError(f"{resource}: {found.status}: {reason}: delete it and apply again")
        found = None


def _remove(resource: Resource, waiter: Waiter, emptied: bool) -> str:
    with _named(resource):
        if resource.kind.find(resource.spec) is None:
            return f"{resource}: wasn't there"
        if emptied:
            held = resource.kind.empty(resource.spec)
            if held:
                waiter.say(f"{resource}: emptied of {held}")
        resource.kind.remove(resource.spec)
        for _ in waiter.ticks(f"{resource}: not gone", READY_SECONDS):
            if resource.kind.is_gone(resource.spec):
                return f"{resource}: deleted"
    raise AssertionError("ticks end with an error")


def _in_parallel(
    order: TopologicalSorter[Identity], total: int, work: Callable[[Identity], str], say: Say
) -> list[str]:
    """Works through the `total` nodes of `order`, saying what each piece of work answers.

    What waits for a failed one isn't done. Returns a sentence for each that failed.
    """
    failed: list[str] = []
    running: dict[Future[str], Identity] = {}
    order.prepare()
    with ThreadPoolExecutor(WORKERS) as pool:
        while True:
            running |= {pool.submit(work, identity): identity for identity in order.get_ready()}
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                identity = running.pop(future)
                total -= 1
                try:
                    say(future.result())
                    order.done(identity)
                except ApplyError as error:
                    failed.append(str(error))
    return [*failed, f"{total} resources that wait for these were left as they are"] if total else failed


class _named:  # noqa: N801
    """Turns what AWS refuses into an `ApplyError` that names the resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        if isinstance(error, (ClientError, BotoCoreError, RuntimeError)) and not isinstance(error, ApplyError):
            raise ApplyError(f"{self._resource}: {_sentence(error)}") from error


def _sentence(error: BaseException) -> str:
    if isinstance(error, ClientError):
        detail = error.response["Error"]
        return f"{error.operation_name}: {detail['Code']}: {detail.get('Message', '')}"
    return str(error)
