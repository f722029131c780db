"""One time series as the models take it, read from a request or from the files of a channel."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from forecasters.contract import ClientError
from loopcast.forecast import Instance

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """`target` is (n,), a step each from `start` (naive, UTC) on, NaN where it is missing; `cat` is a tuple of codes;
    `dynamic_feat` is (k, n), or (k, n + horizon) in a request, and without gaps."""

    start: datetime
    target: Array
    cat: tuple[int, ...] = ()
    dynamic_feat: Array | None = None

    def before_the_last(self, steps: int) -> Series:
        """What was known `steps` steps before the end: a shorter target, and features over the horizon."""
        return replace(self, target=self.target[:-steps])


def feature_rows(series: Series) -> int:
    return 0 if series.dynamic_feat is None else len(series.dynamic_feat)


def check_codes(series: Series, codes: int) -> None:
    """Raises ValueError where a request lacks codes that the model was trained with."""
    if len(series.cat) != codes:
        raise ValueError(f"cat must have {codes} codes, as in training, not {len(series.cat)}")


def check_features(series: Series, rows: int, horizon: int) -> None:
    """Raises ValueError where a request lacks features that the model was trained with, or they don't reach."""
    shape = (0, 0) if series.dynamic_feat is None else series.dynamic_feat.shape
    expected = (rows, len(series.target) + horizon)
    if shape != expected:
        raise ValueError(
            f"dynamic_feat must have {expected[0]} rows of {expected[1]} values (target and horizon), "
            f"not {shape[0]} rows of {shape[1]}"
        )


def series_from_instance(instance: Instance) -> Series:
    """Raises ValueError with a sentence on what is wrong."""
    target = np.array(instance.target, dtype=np.float64)
    if np.isinf(target).any():
        raise ValueError("target has an infinite value")
    return Series(_naive(instance.start), target, _codes(instance.cat), _features(instance.dynamic_feat))


def _naive(start: datetime) -> datetime:
    return start if start.tzinfo is None else start.astimezone(UTC).replace(tzinfo=None)


def _codes(cat: list[int] | int | None) -> tuple[int, ...]:
    codes = () if cat is None else (cat,) if isinstance(cat, int) else tuple(cat)
    if any(code < 0 for code in codes):
        raise ValueError("cat has a negative code")
    return codes


def _features(rows: Sequence[Sequence[float]] | None) -> Array | None:
    if not rows:
        return None
    if len({len(row) for row in rows}) > 1:
        raise ValueError("the rows of dynamic_feat differ in length")
    features = np.array(rows, dtype=np.float64)
    if not np.isfinite(features).all():
        raise ValueError("dynamic_feat has a missing or infinite value, which it must not have")
    return features


def read_channel(folder: Path, name: str) -> list[Series]:
    """The series of a channel, in the order of its files' names; a mistake raises `ClientError` with file and line."""
    files = _files(folder)
    if not files:
        raise ClientError(f"the {name} channel has no data: give it JSON Lines files (.json, .jsonl, .json.gz)")
    series = [one for file in files for one in _read(file, str(file.relative_to(folder.parent)))]
    if not series:
        raise ClientError(f"the {name} channel's files hold no time series")
    return series


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith((".", "_")))


def _read(file: Path, shown: str) -> Iterator[Series]:
    if file.suffix == ".parquet":
        raise ClientError(f"{shown}: Parquet is not read by this image: write JSON Lines")
    try:
        with _open(file) as lines:
            yield from _parse(lines, shown)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ClientError(f"{shown} can't be read: {error}") from error


def _open(file: Path) -> TextIO:
    return gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8")


def _parse(lines: Iterable[str], shown: str) -> Iterator[Series]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield series_from_instance(Instance.model_validate_json(line))
            except ValueError as error:
                raise ClientError(f"{shown}:{number}: {explain(error)}") from error


def explain(error: ValueError) -> str:
    """The first mistake that pydantic found, on one line: where it is, and what it is."""
    if not isinstance(error, ValidationError):
        return str(error)
    mistake = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in mistake["loc"])
    return f"{place}: {mistake['msg']}" if place else mistake["msg"]
