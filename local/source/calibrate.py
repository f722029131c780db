"""Derives calibration.json from the recordings; docs/simulator.md explains each statistic and how well it fits."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from itertools import combinations, groupby, pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from local.source.calibration import (
    BODY_LEVELS,
    FILE,
    LEVELS,
    TAIL_FROM,
    Calibration,
    FeeRates,
    Input,
    Marginal,
    Memory,
    Output,
    Shape,
)
from local.source.recordings import (
    BLOCK_MINUTES,
    SNAPSHOT_SECONDS,
    Answer,
    BadRecording,
    Floats,
    Ints,
    Levels,
    read_recording,
)

MEMORY_MINUTES = (1.0, 15.0, 60.0, 300.0, 1440.0, 7200.0)
LAGS = (0, 1, 2, 3, 4, 6, 9, 12, 24, 48, 72, 144, 288, 576, 864)
"""Lags at which autocorrelations are fitted, in snapshots of five minutes."""

_AMOUNTS = 33
_KINDS = {
    ("5120", 34): "p2tr",
    ("0020", 34): "p2wsh",
    ("0014", 22): "p2wpkh",
    ("a914", 23): "p2sh",
    ("76a9", 25): "p2pkh",
}


def calibrate(levels: Levels, answer: Answer) -> Calibration:
    """The statistics of both recordings."""
    hours = (levels.times // 3600 % 24).astype(np.int64)
    arrivals = np.log(levels.counts / BLOCK_MINUTES)
    fees = np.log(levels.usual_fees())
    rates = _fee_rates(answer)
    return Calibration(
        arrivals=_marginal(arrivals, hours),
        fees=_marginal(fees, hours),
        memory=_memory(_scores(_without_hours(fees, hours)), _scores(_without_hours(arrivals, hours))),
        fee_rates=_fee_rate_statistics(rates / np.median(rates), levels),
        burst_shape=_burst_shape(answer),
        amounts=_amounts(answer),
        shapes=shapes_of(answer),
    )


def _hourly(values: Floats, hours: Ints) -> Floats:
    return np.array([np.median(values[hours == hour]) - np.median(values) for hour in range(24)])


def _without_hours(values: Floats, hours: Ints) -> Floats:
    return np.asarray(values - _hourly(values, hours)[hours])


def _marginal(values: Floats, hours: Ints) -> Marginal:
    rest = _without_hours(values, hours)
    return Marginal(hourly=_rounded(_hourly(values, hours)), quantiles=_rounded(np.quantile(rest, LEVELS)))


def _scores(values: Floats) -> Floats:
    """The values' ranks as scores of the standard normal distribution."""
    ranks = np.argsort(np.argsort(values))
    normal = NormalDist()
    return np.array([normal.inv_cdf((rank + 0.5) / len(values)) for rank in ranks])


def correlation(first: Floats, second: Floats, lag: int) -> float:
    """The correlation of `first`, `lag` steps later, with `second`."""
    a, b = first - first.mean(), second - second.mean()
    return float((a[lag:] * b[: len(b) - lag]).mean() / (first.std() * second.std()))


def _memory(fees: Floats, arrivals: Floats) -> Memory:
    steps = np.array(LAGS)[:, None] * SNAPSHOT_SECONDS / 60
    kernels = np.exp(-steps / np.array(MEMORY_MINUTES))
    fee_weights = _non_negative(kernels, np.array([correlation(fees, fees, lag) for lag in LAGS]))
    arrival_weights = _non_negative(kernels, np.array([correlation(arrivals, arrivals, lag) for lag in LAGS]))
    both = np.array([(correlation(fees, arrivals, lag) + correlation(arrivals, fees, lag)) / 2 for lag in LAGS])
    shared = kernels * np.sqrt(fee_weights * arrival_weights)
    correlations = np.clip(np.linalg.lstsq(shared, both, rcond=None)[0], -0.95, 0.95)
    return Memory(
        minutes=list(MEMORY_MINUTES),
        fee_weights=_rounded(fee_weights / fee_weights.sum()),
        arrival_weights=_rounded(arrival_weights / arrival_weights.sum()),
        correlations=_rounded(correlations),
    )


def _non_negative(matrix: Floats, target: Floats) -> Floats:
    """The least-squares weights among those that aren't negative; shape (columns of `matrix`,)."""
    best, best_error = np.zeros(matrix.shape[1]), np.inf
    columns = range(matrix.shape[1])
    for chosen in (list(c) for size in columns for c in combinations(columns, size + 1)):
        weights = np.linalg.lstsq(matrix[:, chosen], target, rcond=None)[0]
        error = float(((matrix[:, chosen] @ weights - target) ** 2).sum())
        if (weights >= 0).all() and error < best_error:
            best, best_error = np.zeros(matrix.shape[1]), error
            best[chosen] = weights
    return best


def _fee_rates(answer: Answer) -> Floats:
    weights = np.array([transaction["weight"] for transaction in answer.transactions])
    return np.asarray(np.array(answer.fees) / (weights / 4))


def _fee_rate_statistics(ratios: Floats, levels: Levels) -> FeeRates:
    quantiles = np.quantile(ratios, BODY_LEVELS)
    threshold, share, largest = _single_fees(levels)
    start = float(quantiles[-1] / ratios.mean())
    index = np.log((1 - TAIL_FROM) / share) / np.log(threshold / start)
    return FeeRates(
        quantiles=_rounded(quantiles), tail_index=round(float(index), 3), largest=round(largest * ratios.mean())
    )


def _single_fees(levels: Levels) -> tuple[float, float, float]:
    """A threshold in average fees, the share of arrivals that pay more than it alone, and the largest such fee.

    A single huge fee lifts a snapshot's average above its neighbours' by the fee over the count. Above the threshold
    it does so for every count; the snapshots until a block takes it are one event.
    """
    usual = levels.usual_fees()
    excess = (levels.fees - usual) * levels.counts / usual
    threshold = 2 * float(levels.counts.max())
    events = sum(1 for high, _ in groupby(excess > threshold) if high)
    arrivals = float(levels.counts.sum()) / BLOCK_MINUTES * SNAPSHOT_SECONDS / 60
    return threshold, events / arrivals, float(excess.max())


def _burst_shape(answer: Answer) -> float:
    """Arrivals a second as a gamma mixture of Poisson distributions: mean^2 / (variance - mean)."""
    times = [transaction["time"] for transaction in answer.transactions]
    seconds = np.bincount(np.array(times) - min(times))
    mean, variance = float(seconds.mean()), float(seconds.var(ddof=1))
    return round(mean**2 / max(variance - mean, mean / 10), 3)


def _amounts(answer: Answer) -> list[int]:
    values = [output["value"] for transaction in answer.transactions for output in transaction["out"]]
    return [int(v) for v in np.quantile([v for v in values if v > 0], np.linspace(0, 1, _AMOUNTS))]


def shapes_of(answer: Answer) -> list[Shape]:
    """What the transactions look like, the most frequent first."""
    looks = Counter(json.dumps(_look(transaction)) for transaction in answer.transactions)
    total = looks.total()
    return [Shape(share=count / total, **json.loads(look)) for look, count in looks.most_common()]


def _look(transaction: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": transaction["ver"],
        "rbf": bool(transaction.get("rbf")),
        "inputs": [_input(item).model_dump() for item in transaction["inputs"]],
        "outputs": [_output(item).model_dump() for item in transaction["out"]],
    }


def _input(item: dict[str, Any]) -> Input:
    spent = item["prev_out"]["script"]
    return Input(
        kind=_kind(spent),
        spent_bytes=len(spent) // 2,
        script_bytes=len(item["script"]) // 2,
        witness_bytes=len(item["witness"]) // 2,
    )


def _output(item: dict[str, Any]) -> Output:
    return Output(kind=_kind(item["script"]), script_bytes=len(item["script"]) // 2)


def _kind(script: str) -> str:
    if script.startswith("6a"):
        return "op_return"
    return _KINDS.get((script[:4], len(script) // 2), "other")


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 4) for value in values]


def read_both(parquet: Path, answer: Path) -> tuple[Levels, Answer]:
    """Both recordings. Raises `BadRecording`."""
    levels, listed = read_recording(parquet), read_recording(answer)
    if not isinstance(levels, Levels) or not isinstance(listed, Answer):
        raise BadRecording(f"{parquet} must be the parquet file and {answer} the JSON answer")
    if any(later <= earlier for earlier, later in pairwise(levels.times)):
        raise BadRecording(f"{parquet} has two snapshots of one time")
    return levels, listed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.source.calibrate", description=__doc__)
    parser.add_argument("--parquet", type=Path, required=True, help="five-minute snapshots of a mempool")
    parser.add_argument("--json", type=Path, required=True, help="a saved answer of the API")
    parser.add_argument("--out", type=Path, default=FILE, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        calibration = calibrate(*read_both(arguments.parquet, arguments.json))
    except BadRecording as error:
        raise SystemExit(str(error)) from None
    arguments.out.write_text(_to_json(calibration))
    print(f"{arguments.out}: {len(calibration.shapes)} shapes, tail index {calibration.fee_rates.tail_index}")


def _to_json(calibration: Calibration) -> str:
    """One line for each statistic and each shape: small, and readable in a diff."""
    lines = []
    for name, value in calibration.model_dump().items():
        parts = [json.dumps(part) for part in value] if name == "shapes" else []
        text = "[\n  " + ",\n  ".join(parts) + "\n]" if parts else json.dumps(value)
        lines.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
