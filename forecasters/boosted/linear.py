"""Where the trees begin: a linear forecast of scores, and how actual scores lay about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from forecasters.boosted.windows import Window, means
from forecasters.ranks import normal_scores
from forecasters.series import Array

TRUST = 30.0
"""How many horizons of history weigh as much as the belief that the future is distributed as the context was."""


class Linear(BaseModel):
    """`coefficients` are (1 + spans, horizon), the constant first; `offsets` (levels, horizon) are quantiles of what
    the linear forecast missed."""

    coefficients: list[list[float]]
    offsets: list[list[float]]

    def scores(self, windows: Sequence[Window]) -> Array:
        """(n, levels, horizon)."""
        expected = _design(windows) @ np.array(self.coefficients)
        return np.asarray(expected[:, None, :] + np.array(self.offsets), dtype=np.float64)


def fit_linear(windows: Sequence[Window], futures: Array, levels: Sequence[float], horizons: float) -> Linear:
    """`futures` (n, horizon) are the scores that came, NaN where missing; each step must have known ones. The less
    history there is, counted in `horizons`, the nearer the forecast is to the context's own quantiles."""
    design = _design(windows)
    penalty = TRUST * len(windows) / horizons
    coefficients = np.stack([_ridge(design, column, penalty) for column in futures.T], axis=1)
    missed = futures - design @ coefficients
    known = ~np.isnan(missed)
    found = np.stack(
        [np.quantile(column[here], levels) for column, here in zip(missed.T, known.T, strict=True)], axis=1
    )
    share = horizons / (horizons + TRUST)
    offsets = share * found + (1 - share) * normal_scores(levels)[:, None]
    return Linear(coefficients=coefficients.tolist(), offsets=offsets.tolist())


def _design(windows: Sequence[Window]) -> Array:
    return np.pad(means(windows), ((0, 0), (1, 0)), constant_values=1.0)


def _ridge(design: Array, future: Array, penalty: float) -> Array:
    known = ~np.isnan(future)
    rows = design[known]
    squares = rows.T @ rows + penalty * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(squares, rows.T @ future[known]), dtype=np.float64)
