"""Reads recordings of the real feed: five-minute levels of a mempool (parquet) and saved answers of the API (JSON)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLUMNS = ("timestamp", "mempool_blocks_nTx", "mempool_blocks_totalFees")
SNAPSHOT_SECONDS = 300
BLOCK_MINUTES = 10
"""A block takes about ten minutes: what the next block holds, over ten, stands for the arrivals of a minute."""

_WHALE = 5.0
_NEIGHBOURS = 7


class BadRecording(ValueError):
    """A file that is no recording; the message is one sentence that says what it should be."""


@dataclass(frozen=True)
class Levels:
    """Snapshots five minutes apart, oldest first; arrays of shape (n,).

    times: seconds since the epoch. counts: transactions of the next block. fees: their average fee, in satoshi.
    """

    times: Ints
    counts: Floats
    fees: Floats

    def usual_fees(self) -> Floats:
        """The average fees, where one huge fee does not stand out: there, the median of the snapshots around."""
        around = _rolling_median(self.fees)
        return np.where(self.fees > _WHALE * around, around, self.fees)


@dataclass(frozen=True)
class Answer:
    """The transactions of a saved answer, as the API wrote them; each has its fee in `fees`, in satoshi."""

    transactions: list[dict[str, Any]]
    fees: list[int]


def read_recording(path: Path) -> Levels | Answer:
    """What `path` records. Raises `BadRecording`."""
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        found = _read_levels(path) if is_parquet else _read_answer(path)
    except OSError as error:
        raise BadRecording(f"{path} can't be read: {error.strerror or error}") from error
    if found is None:
        raise BadRecording(
            f"{path} is neither a parquet file with the columns {', '.join(COLUMNS)} nor a saved JSON answer "
            'of the unconfirmed-transactions API ({"txs": [...]} with whole transactions): give one of the two'
        )
    return found


def _read_levels(path: Path) -> Levels | None:
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
        if table.num_columns != len(COLUMNS):
            return None
        times, counts, totals = (np.asarray(table.column(name).to_numpy(), dtype=np.float64) for name in COLUMNS)
    except (pa.ArrowException, KeyError, ValueError):
        return None
    known = np.isfinite(times) & (counts > 0) & (totals > 0)
    order = np.argsort(times[known], kind="stable")
    times, counts, totals = times[known][order], counts[known][order], totals[known][order]
    return Levels(times.astype(np.int64), counts, totals / counts) if len(times) else None


def _read_answer(path: Path) -> Answer | None:
    try:
        listed = json.loads(path.read_bytes())["txs"]
        transactions = [transaction for transaction in listed if _is_whole(transaction)]
        fees = [recorded_fee(transaction) for transaction in transactions]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    known = [(transaction, fee) for transaction, fee in zip(transactions, fees, strict=True) if fee is not None]
    return Answer([transaction for transaction, _ in known], [fee for _, fee in known]) if known else None


def _is_whole(transaction: Any) -> bool:
    whole = {"hash", "time", "size", "weight", "inputs", "out"} <= transaction.keys()
    return bool(whole) and all(isinstance(transaction[name], int) for name in ("size", "weight"))


def recorded_fee(transaction: dict[str, Any]) -> int | None:
    """The fee in satoshi, from inputs and outputs where the answer is too old to state it; None when unknown."""
    if isinstance(transaction.get("fee"), int):
        return int(transaction["fee"])
    spent: list[Any] = [(item.get("prev_out") or {}).get("value") for item in transaction["inputs"]]
    if any(value is None for value in spent):
        return None
    return int(sum(spent) - sum(output["value"] for output in transaction["out"]))


def _rolling_median(values: Floats) -> Floats:
    half = _NEIGHBOURS // 2
    padded = np.pad(values, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS)
    return np.asarray(np.median(windows, axis=1), dtype=np.float64)
