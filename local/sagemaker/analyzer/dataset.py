"""Reads what is to be analyzed: captured predictions with ground truth, or a baseline's data set."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from local.sagemaker.analyzer.merge import Merged, merge
from local.sagemaker.analyzer.records import Place, Record, Unreadable, ground_truth, prediction, searched
from local.sagemaker.analyzer.settings import AnalysisFailed, Settings

log = logging.getLogger(__name__)


def read_pairs(settings: Settings) -> Merged:
    """At least one pair of a prediction and what was observed. Raises `AnalysisFailed`."""
    readers = {"sagemakerCaptureJson": _captured, "csv": _csv, "json": _json}
    known = [name for name in readers if name in settings.format]
    if len(known) != 1:
        raise AnalysisFailed(f"dataset_format must be one of {', '.join(readers)}, not {', '.join(settings.format)}")
    merged = readers[known[0]](settings)
    if not len(merged.labels):
        raise AnalysisFailed(
            "no prediction could be matched with ground truth: "
            f"{merged.without_ground_truth} predictions have none, "
            f"{merged.without_prediction} labels have no prediction, "
            f"{merged.unequal} events have more or fewer labels than predictions"
        )
    return merged


def _captured(settings: Settings) -> Merged:
    if settings.ground_truth is None:
        raise AnalysisFailed("ground_truth_source is missing: captured predictions have no labels of their own")
    predictions = _records(settings.dataset, lambda line, place: prediction(line, settings.inference, place))
    labels = _records(settings.ground_truth, ground_truth)
    merged = merge([one for one in predictions if _is_within(settings, one)], labels)
    for count, what in (
        (len(merged.labels), "pairs of a prediction and its ground truth"),
        (merged.without_ground_truth, "predictions without ground truth"),
        (merged.without_prediction, "labels without a prediction"),
        (merged.unequal, "events with more or fewer labels than predictions"),
    ):
        log.info("%d %s", count, what)
    return merged


def _is_within(settings: Settings, record: Record) -> bool:
    """Whether a prediction was made in the window: the folders hold whole hours. One without a time counts."""
    if record.time is None:
        return True
    return (settings.start is None or settings.start <= record.time) and (
        settings.end is None or record.time < settings.end
    )


def _records(folder: Path, read: Callable[[str, Place], Record]) -> list[Record]:
    """The records of all files in a folder; lines that aren't any are counted and the first is logged."""
    records, unreadable = [], []
    for place, line in _lines(folder):
        try:
            records.append(read(line, place))
        except Unreadable as error:
            unreadable.append(f"{place[0]}, line {place[1]}: {error}")
    if unreadable:
        log.warning("%d lines can't be read; the first: %s", len(unreadable), unreadable[0])
        if not records:
            raise AnalysisFailed(f"no line of {folder} can be read; the first: {unreadable[0]}")
    return records


def _lines(folder: Path) -> Iterator[tuple[Place, str]]:
    for path in _files(folder):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if line.strip():
                yield (str(path.relative_to(folder)), number), line


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _csv(settings: Settings) -> Merged:
    """Columns are named by the header, or by their numbers where there is none."""
    rows: list[dict[str, str]] = []
    for path in _files(settings.dataset):
        with path.open(newline="") as file:
            if settings.format["csv"].get("header"):
                rows += csv.DictReader(file)
            else:
                rows += [{str(index): cell for index, cell in enumerate(row)} for row in csv.reader(file) if row]
    return _pairs([_cells(row, settings) for row in rows])


def _cells(row: dict[str, str], settings: Settings) -> tuple[float, float]:
    try:
        return float(row[settings.inference]), float(row[settings.label])
    except (KeyError, TypeError, ValueError) as error:
        raise AnalysisFailed(f"the data set has a row without a number for a prediction or a label: {error}") from error


def _json(settings: Settings) -> Merged:
    """A document a line, or one a file."""
    pairs: list[tuple[float, float]] = []
    for path in _files(settings.dataset):
        text = path.read_text()
        lines = text.splitlines() if settings.format["json"].get("lines", True) else [text]
        for line in filter(str.strip, lines):
            pairs += _searched(line, settings)
    return _pairs(pairs)


def _searched(line: str, settings: Settings) -> list[tuple[float, float]]:
    try:
        document = json.loads(line)
        predictions, labels = searched(document, settings.inference), searched(document, settings.label)
        return list(zip(predictions, labels, strict=True))
    except (Unreadable, ValueError) as error:
        raise AnalysisFailed(f"the data set has a record without a prediction and a label: {error}") from error


def _pairs(pairs: list[tuple[float, float]]) -> Merged:
    values = np.array(pairs, dtype=float).reshape(-1, 2)
    known = values[np.isfinite(values).all(axis=1)]
    return Merged(known[:, 0], known[:, 1])
