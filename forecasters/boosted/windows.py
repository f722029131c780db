"""Windows as the model sees them: the scores of the context, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasters.ranks import CENTRE, Ranks, ranks
from forecasters.series import Array, Series

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """What is known of `series` after its first `origin` steps: `ranks` of the context, and its `scores` (context,),
    newest last, NaN where a value is missing or the series had not begun."""

    series: Series
    origin: int
    ranks: Ranks
    scores: Array


def window(series: Series, origin: int, context: int) -> Window:
    """The `context` steps before `origin`; raises ValueError where none of them is known."""
    latest = series.target[:origin][-context:]
    found = ranks(latest)
    scores = np.pad(found.score(latest), (context - len(latest), 0), constant_values=np.nan)
    return Window(series, origin, found, scores)


def spans(context: int) -> list[int]:
    """How far back the means reach: 1, 2, 4 ... steps, up to half of the context."""
    return [2**power for power in range(max(context // 2, 1).bit_length())]


def means(windows: Sequence[Window]) -> Array:
    """(n, spans): the mean score of each span, where nothing of it is known that of the next longer."""
    scores = np.stack([one.scores for one in windows])
    found = np.full(len(scores), CENTRE)
    columns = []
    for span in reversed(spans(scores.shape[1])):
        known = ~np.isnan(scores[:, -span:])
        count = known.sum(axis=1)
        total = np.where(known, scores[:, -span:], 0).sum(axis=1)
        found = np.where(count > 0, total / np.maximum(count, 1), found)
        columns.append(found)
    return np.stack(columns[::-1], axis=1)


def inputs(windows: Sequence[Window], places: Ints, steps: Ints) -> Array:
    """(rows, f): what the trees see of step `steps[i]` (from 0) after window `places[i]`: the window's means,
    the step, the series' codes and the features of that step."""
    codes = np.array([one.series.cat for one in windows], dtype=np.float64)
    of_windows = np.concatenate([means(windows), codes], axis=1)
    asked = [_features(windows[place], step) for place, step in zip(places.tolist(), steps.tolist(), strict=True)]
    return np.concatenate([of_windows[places], steps[:, None], np.stack(asked)], axis=1)


def _features(one: Window, step: int) -> Array:
    features = one.series.dynamic_feat
    return np.empty(0) if features is None else np.asarray(features[:, one.origin + step], dtype=np.float64)
