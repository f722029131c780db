"""Where the trees begin: a linear forecast of scores, and how actual scores lay about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from forecasters.boosted.windows import Window, means
from forecasters.series import Array

PENALTY = 0.05
"""Of squared coefficients, a window: it keeps short histories from following their noise."""


class Linear(BaseModel):
    """`coefficients` are (1 + spans, horizon), the constant first; `offsets` (levels, horizon) are quantiles of what
    the linear forecast missed."""

    coefficients: list[list[float]]
    offsets: list[list[float]]

    def scores(self, windows: Sequence[Window]) -> Array:
        """(n, levels, horizon)."""
        expected = _design(windows) @ np.array(self.coefficients)
        return np.asarray(expected[:, None, :] + np.array(self.offsets), dtype=np.float64)


def fit_linear(windows: Sequence[Window], futures: Array, levels: Sequence[float]) -> Linear:
    """`futures` (n, horizon) are the scores that came, NaN where missing; each step must have known ones."""
    design = _design(windows)
    coefficients = np.stack([_ridge(design, futures[:, step]) for step in range(futures.shape[1])], axis=1)
    missed = futures - design @ coefficients
    known = ~np.isnan(missed)
    offsets = [np.quantile(column[here], levels) for column, here in zip(missed.T, known.T, strict=True)]
    return Linear(coefficients=coefficients.tolist(), offsets=np.stack(offsets, axis=1).tolist())


def _design(windows: Sequence[Window]) -> Array:
    return np.pad(means(windows), ((0, 0), (1, 0)), constant_values=1.0)


def _ridge(design: Array, future: Array) -> Array:
    known = ~np.isnan(future)
    rows = design[known]
    penalty = PENALTY * len(rows) * np.eye(design.shape[1])
    penalty[0, 0] = 0
    return np.asarray(np.linalg.solve(rows.T @ rows + penalty, rows.T @ future[known]), dtype=np.float64)
