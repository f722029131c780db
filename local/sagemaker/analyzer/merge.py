"""Joins predictions to what was observed, by event; pure, and independent of the order of records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from local.sagemaker.analyzer.records import Record

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Merged:
    """Pairs of a prediction and what was observed, both of shape (n,); and how many events gave none: those without
    ground truth, without a prediction, and whose numbers of values differ."""

    predictions: Array
    labels: Array
    without_ground_truth: int = 0
    without_prediction: int = 0
    unequal: int = 0


def merge(predictions: Iterable[Record], labels: Iterable[Record]) -> Merged:
    """Of each event the newest prediction and the newest label count. A label that is no number (NaN) is a value that
    never came: its pair is left out."""
    predicted, observed = _newest(predictions), _newest(labels)
    both = sorted(predicted.keys() & observed.keys())
    equal = [event for event in both if len(predicted[event]) == len(observed[event])]
    pairs = [pair for event in equal for pair in zip(predicted[event], observed[event], strict=True)]
    values = np.array(pairs, dtype=float).reshape(-1, 2)
    known = values[np.isfinite(values).all(axis=1)]
    return Merged(
        predictions=known[:, 0],
        labels=known[:, 1],
        without_ground_truth=len(predicted) - len(both),
        without_prediction=len(observed) - len(both),
        unequal=len(both) - len(equal),
    )


def _newest(records: Iterable[Record]) -> dict[str, tuple[float, ...]]:
    newest: dict[str, Record] = {}
    for record in records:
        known = newest.get(record.event)
        if known is None or record.newness > known.newness:
            newest[record.event] = record
    return {event: record.values for event, record in newest.items()}
