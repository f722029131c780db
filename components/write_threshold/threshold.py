"""The rule for the loss above which a stage's model is held to have drifted; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rule:
    """The rule's constants.

    The limit is `margin` times the `quantile` of the backtest's window losses, at least `least_factor` times the loss
    of all windows together, and wider by `few / n` of itself where only `n` windows are known.
    """

    quantile: float = 0.8
    margin: float = 1.25
    least_factor: float = 1.3
    few: float = 2.0


RULE = Rule()


def threshold(loss: float, window_losses: Sequence[float | None], rule: Rule = RULE) -> float:
    """A limit, above 0 and in the unit of the losses, that noise alone seldom breaks.

    `loss` is that of all windows together, `window_losses` those of each window alone; None and NaN don't count, and
    where none counts `loss` stands for them. The limit scales with the losses, never falls when one of them rises, and
    follows a quantile of them, so that a few wild windows don't carry it away. Raises `ValueError` when `loss` is not
    finite.
    """
    if not math.isfinite(loss):
        raise ValueError(f"no threshold follows from a loss of {loss}")
    known = [value for value in window_losses if value is not None and math.isfinite(value)] or [loss]
    usual = rule.margin * float(np.quantile(known, rule.quantile))
    return max(usual, rule.least_factor * loss) * (1 + rule.few / len(known))
