"""Removes everything that a feed's stack has ever made, says what, and looks again whether anything is left."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from applier import engine, leftovers
from applier.engine import Waiter
from applier.leftovers import Sort
from applier.resources import Resource
from loopcast.names import Names

_PASSING = ("ValidationException", "ValidationError", "ResourceInUse", "ConflictException", "OperationAbortedException")
"""Errors of what goes only after something else has gone, as an alarm that another one is made of."""


def run(names: Names, resources: Sequence[Resource], waiter: Waiter, *, confirmed: bool) -> int:
    """Destroys the feed's stack once the user has confirmed it; returns the exit code."""
    if not confirmed and not _confirm(names):
        print("nothing was removed", file=sys.stderr)
        return 1
    owner = leftovers.owner(names)
    removed: Counter[str] = Counter()
    for sort in leftovers.running(owner):
        removed[sort.what] += _clear(sort, waiter)
    declared = [str(resource) for resource in _there(resources)]
    failed = engine.delete(resources, waiter, emptied=True)
    removed["declared resource"] = len(declared)
    for sort in leftovers.traces(owner):
        removed[sort.what] += _clear(sort, waiter)
    left = [str(resource) for resource in _there(resources)]
    left += [
        f"{sort.what} {name}" for sort in (*leftovers.running(owner), *leftovers.traces(owner)) for name in sort.find()
    ]
    return _conclude(names, removed, failed, left, waiter)


def _conclude(names: Names, removed: Counter[str], failed: list[str], left: list[str], waiter: Waiter) -> int:
    counts = ", ".join(f"{count} {_plural(what) if count > 1 else what}" for what, count in removed.items() if count)
    waiter.say(f"destroy: removed {counts or 'nothing: there was nothing'}")
    for sentence in failed:
        print(sentence, file=sys.stderr)
    for item in left:
        print(f"still there: {item}", file=sys.stderr)
    if left or failed:
        print(f"{names.prefix}: not everything is gone: see above, then run this again", file=sys.stderr)
        return 1
    waiter.say(f"destroy: looked again: nothing of {names.prefix} is left")
    return 0


def _plural(what: str) -> str:
    """`log streams of /aws/x` of `log stream of /aws/x`."""
    head, of, where = what.partition(" of ")
    return f"{head}s{of}{where}"


def _confirm(names: Names) -> bool:
    print(
        f"This deletes everything that the feed {names.feed} has in account {names.account}: its data, models,\n"
        f"endpoints and parameters. Type the feed's name to go on: ",
        end="",
        flush=True,
    )
    return sys.stdin.readline().strip() == names.feed


def _there(resources: Sequence[Resource]) -> list[Resource]:
    with ThreadPoolExecutor(engine.WORKERS) as pool:
        found = pool.map(lambda resource: resource.kind.find(resource.spec), resources)
    return [resource for resource, there in zip(resources, found, strict=True) if there is not None]


def _clear(sort: Sort, waiter: Waiter) -> int:
    """Removes all of a sort and waits until it is gone; returns how many there were."""
    asked: set[str] = set()
    seen: set[str] = set()
    for _ in waiter.ticks(f"{sort.what}: not gone", engine.READY_SECONDS):
        found = sort.find()
        if not found:
            break
        seen |= set(found)
        for name in found:
            if name in asked:
                continue
            try:
                sort.remove(name)
                asked.add(name)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _PASSING:
                    raise
    for name in sorted(seen):
        waiter.say(f"{sort.what} {name}: {sort.done}")
    return len(seen)
