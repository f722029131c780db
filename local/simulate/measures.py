"""What a policy is measured by, pure. A sequence of windows has arrays of shape (horizon,) and a forecast for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from components.baselines import Forecast
from components.history import Array
from components.windows import pooled_loss
from local.simulate.alarm import AlarmRule


def is_better(actual: Sequence[Array], new: Sequence[Forecast], old: Sequence[Forecast]) -> bool:
    """Whether the new model's loss is below what the old one's would have been on the same windows."""
    return pooled_loss(actual, new) < pooled_loss(actual, old)


@dataclass(frozen=True)
class Breach:
    """A fresh model that broke its threshold: `windows` are the indices, from its first window, that the alarm went
    by. It is noise when the best baseline's loss did not rise: then no change of the world explains it."""

    windows: tuple[int, ...]
    noise: bool


def fresh_breach(
    ratios: Sequence[float], rule: AlarmRule, baseline_before: float, baseline_loss: Callable[[Sequence[int]], float]
) -> Breach | None:
    """Whether a model's own first `ratios` of loss to threshold make the alarm stand.

    `baseline_before` is the best baseline's loss on the windows that the threshold follows from; `baseline_loss` gives
    the same baseline's on given windows.
    """
    last = rule.first_breach(ratios)
    if last is None:
        return None
    windows = rule.newest(ratios[: last + 1])
    return Breach(tuple(windows), not baseline_loss(windows) > baseline_before)


@dataclass(frozen=True)
class Episode:
    """A time in which the alarm stood without a break: from the window at index `first` to that at `last`."""

    first: int
    last: int


def episodes(alarm: Sequence[bool]) -> list[Episode]:
    """The alarm's episodes, from whether it stood after each window."""
    edges = [index for index, (before, now) in enumerate(pairwise([False, *alarm, False])) if before != now]
    return [Episode(first, end - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def share(flags: Sequence[bool]) -> float | None:
    """The share of `flags` that are true; None of none."""
    return sum(flags) / len(flags) if flags else None
