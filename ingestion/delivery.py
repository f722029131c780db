"""Delivery in batches: what fits into a request, and trying again only what failed."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

T = TypeVar("T")
R = TypeVar("R")
Pause = Callable[[float], bool]
"""Waits so many seconds before another try; False when there shall be none."""

TRANSIENT = (BotoCoreError, ClientError)
"""What an AWS call raises. A wrong request is among them, and is tried again too: somebody may be putting it right."""

log = logging.getLogger(__name__)


class GaveUp(Exception):
    """Work in hand could not be done in time; it was not acknowledged, so it will come again."""


def fitting(sizes: Iterable[int], most: int, most_bytes: int) -> int:
    """How many of the first items go into one request of at most `most` items and `most_bytes`; one at least."""
    count = 0
    for size in sizes:
        most_bytes -= size
        if count and (count == most or most_bytes < 0):
            break
        count += 1
    return count


def chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """`items` in their order, at most `most` at a time."""
    return (items[start : start + most] for start in range(0, len(items), most))


def pauses(first: float = 0.1, longest: float = 5.0) -> Iterator[float]:
    """Seconds to wait before each further try: doubling from `first` up to `longest`, between half and all of it."""
    while True:
        yield first * random.uniform(0.5, 1.0)  # noqa: S311 (jitter needs no secret)
        first = min(2 * first, longest)


def deliver(
    items: Iterable[T], fit: Callable[[Sequence[T]], int], send: Callable[[Sequence[T]], Sequence[T]], pause: Pause
) -> list[T]:
    """Sends `items` in their order, the first `fit(items)` in a request; `send` returns those that failed.

    Only those are sent again. Returns what was left when `pause` allowed no other try.
    """
    left, waits = list(items), pauses()
    while left:
        count = fit(left)
        failed = _tried(send, left[:count])
        left[:count] = failed
        if len(failed) < count:
            waits = pauses()
        if failed and not pause(next(waits)):
            break
    return left


def until_done(action: Callable[[], R], pause: Pause) -> R:
    """What `action` returns, tried again while it raises an AWS error. Raises `GaveUp`."""
    for wait in pauses():
        try:
            return action()
        except TRANSIENT as error:
            log.warning("trying again", extra={"error": str(error)})
            if not pause(wait):
                raise GaveUp(str(error)) from error
    raise AssertionError("pauses never end")


def _tried(send: Callable[[Sequence[T]], Sequence[T]], items: Sequence[T]) -> list[T]:
    try:
        return list(send(items))
    except TRANSIENT as error:
        log.warning("a request failed: trying again", extra={"error": str(error), "items": len(items)})
        return list(items)
