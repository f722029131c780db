"""Whether a challenger is better than the champion on the same windows, or could be so by chance; pure functions.

The test flips signs: were both equally good, each window's difference in loss would as well have come out the other
way round. The p-value is the share of all such outcomes in which the challenger comes out at least as well as it did.

Windows that overlap share minutes, so that one event would count several times. Only windows that begin at least a
horizon apart are compared, from the newest back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.history import Array

_MOST_EXACT = 14
_FLIPS = 20_000
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Comparison:
    """`difference` is the champion's mean loss less the challenger's over `windows` windows: above 0 where the
    challenger is better; None where there is no window."""

    difference: float | None
    p_value: float
    windows: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    challenger: Sequence[float | None], champion: Sequence[float | None], origins: Sequence[int], horizon: int
) -> Comparison:
    """Compares the losses of the same windows, in the order of their first minutes `origins`.

    A window in which either has no loss (None or NaN) is left out.
    """
    differences = np.array(
        [np.nan if ours is None or theirs is None else theirs - ours
         for ours, theirs in zip(challenger, champion, strict=True)]
    )  # fmt: skip
    chosen = apart([index for index, value in enumerate(differences) if math.isfinite(value)], origins, horizon)
    kept = differences[chosen]
    return Comparison(float(kept.mean()) if len(kept) else None, p_value(kept), len(kept))


def apart(indices: Sequence[int], origins: Sequence[int], horizon: int) -> list[int]:
    """Of the windows at `indices`, in rising order, those to compare: from the newest back, none that overlap."""
    kept: list[int] = []
    for index in reversed(indices):
        if not kept or origins[kept[-1]] - origins[index] >= horizon:
            kept.append(index)
    return kept[::-1]


def p_value(differences: Array) -> float:
    """The share of sign flips of `differences` whose sum is at least theirs; 1 where there is none.

    Exact up to 14 of them, else over 20000 random flips, always the same ones.
    """
    size = float(np.abs(differences).sum())
    if size == 0:
        return 1.0
    reached = float(differences.sum()) - _ROUNDING * size
    if len(differences) <= _MOST_EXACT:
        return float((_all_signs(len(differences)) @ differences >= reached).mean())
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (_FLIPS, len(differences)))
    return float(1 + (signs @ differences >= reached).sum()) / (1 + _FLIPS)


def _all_signs(number: int) -> Array:
    bits = np.arange(2**number)[:, None] >> np.arange(number) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
