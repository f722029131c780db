"""Shows how well the simulator fits the recordings: the tables of docs/simulator.md, in Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from local.source.calibrate import correlation, read_both
from local.source.calibration import load_calibration
from local.source.generators import SLOT_SECONDS, Mix, Simulated
from local.source.levels import SLOT_MINUTES
from local.source.recordings import BLOCK_MINUTES, Answer, BadRecording, Floats, Levels
from local.source.regime import Regime

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
LAGS = {"5 min": 1, "10 min": 2, "30 min": 6, "1 h": 12, "2 h": 24, "6 h": 72, "12 h": 144, "1 d": 288, "2 d": 576}
_SINGLE_FEES = 100_000


@dataclass(frozen=True)
class Series:
    """Five-minute steps: seconds since the epoch, arrivals a minute, average fee in satoshi; shape (n,) each."""

    times: Floats
    arrivals: Floats
    fees: Floats


def recorded(levels: Levels) -> Series:
    return Series(levels.times.astype(float), levels.counts / BLOCK_MINUTES, levels.fees)


def simulated(levels: Levels, seed: int) -> Series:
    """As many steps as were recorded, from the same moment on, of the transactions that the simulator draws."""
    start = int(levels.times[0]) // 60 * 60
    generator = Simulated(load_calibration(), start, seed)
    random = np.random.default_rng(seed)
    draws = [generator.draw(slot, Regime(), random).fees for slot in range(len(levels.times))]
    known = [index for index, fees in enumerate(draws) if len(fees)]
    return Series(
        times=np.array([start + index * SLOT_SECONDS for index in known], dtype=float),
        arrivals=np.array([len(draws[index]) / SLOT_MINUTES for index in known]),
        fees=np.array([draws[index].mean() for index in known]),
    )


def quantile_table(name: str, real: Floats, runs: Sequence[Floats]) -> str:
    rows = [[f"{q:g}", *_compared(partial(np.quantile, q=q), real, runs)] for q in QUANTILES]
    rows.append(["mean", *_compared(np.mean, real, runs)])
    return _table([f"{name}, quantile", "recorded", "simulated", "over seeds"], rows)


def correlation_table(name: str, real: Floats, runs: Sequence[Floats]) -> str:
    rows = []
    for label, lag in LAGS.items():
        measure = partial(_autocorrelation, lag=lag)
        rows.append([label, *_compared(measure, real, runs, "{:.2f}")])
    return _table([f"{name}, lag", "recorded", "simulated", "over seeds"], rows)


def daily_table(real: Series, runs: Sequence[Series]) -> str:
    rows = []
    for hour in range(0, 24, 3):
        arrivals = [_in_hours(series, series.arrivals, hour) for series in (real, *runs)]
        fees = [_in_hours(series, series.fees, hour) for series in (real, *runs)]
        figures = [arrivals[0], np.mean(arrivals[1:]), fees[0], np.mean(fees[1:])]
        rows.append([f"{hour:02d}-{hour + 3:02d}", *(f"{figure:.0f}" for figure in figures)])
    head = ["hours (UTC)", "arrivals, recorded", "simulated", "median of average fees, recorded", "simulated"]
    return _table(head, rows)


def transaction_table(answer: Answer) -> str:
    """Weights, and fee rates over their median, of the saved answer and of simulated transactions."""
    mix = Mix(load_calibration(), seed=0)
    bodies, units = mix.draw(_SINGLE_FEES, np.random.default_rng(0))
    weights = mix.bodies.weights[bodies]
    real_weights = np.array([transaction["weight"] for transaction in answer.transactions])
    rates, real_rates = units / weights, np.array(answer.fees) / real_weights
    rows = []
    for q in (*QUANTILES[1:6], 0.99, 1.0):
        of_weights = [f"{np.quantile(column, q):.0f}" for column in (real_weights, weights)]
        of_rates = [f"{np.quantile(column, q) / np.median(column):.2f}" for column in (real_rates, rates)]
        rows.append([f"{q:g}", *of_weights, *of_rates])
    return _table(["quantile", "weight, recorded", "simulated", "fee rate / median, recorded", "simulated"], rows)


def report(levels: Levels, answer: Answer, seeds: int) -> str:
    """All the tables, the simulator's over `seeds` seeds."""
    real = recorded(levels)
    with ProcessPoolExecutor(max_workers=2) as pool:
        runs = list(pool.map(partial(simulated, levels), range(seeds)))
    fees, arrivals = [run.fees for run in runs], [run.arrivals for run in runs]
    together = correlation(np.log(real.fees), np.log(real.arrivals), 0)
    simulated_together = np.mean([correlation(np.log(run.fees), np.log(run.arrivals), 0) for run in runs])
    return "\n\n".join(
        [
            quantile_table("average fee of five minutes (satoshi)", real.fees, fees),
            quantile_table("arrivals a minute", real.arrivals, arrivals),
            correlation_table("log average fee", real.fees, fees),
            correlation_table("log arrivals", real.arrivals, arrivals),
            f"Correlation of both logarithms: recorded {together:.2f}, simulated {simulated_together:.2f}.",
            daily_table(real, runs),
            transaction_table(answer),
        ]
    )


def _autocorrelation(values: Floats, lag: int) -> float:
    return correlation(np.log(values), np.log(values), lag)


def _compared(
    measure: Callable[[Floats], float], real: Floats, runs: Sequence[Floats], form: str = "{:.0f}"
) -> list[str]:
    found = [measure(run) for run in runs]
    spread = f"{form.format(min(found))} .. {form.format(max(found))}"
    return [form.format(measure(real)), form.format(np.mean(found)), spread]


def _in_hours(series: Series, values: Floats, hour: int) -> float:
    hours = series.times // 3600 % 24
    return float(np.median(values[(hours >= hour) & (hours < hour + 3)]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.source.fit", description=__doc__)
    parser.add_argument("--parquet", type=Path, required=True, help="five-minute snapshots of a mempool")
    parser.add_argument("--json", type=Path, required=True, help="a saved answer of the API")
    parser.add_argument("--seeds", type=int, default=8, help="simulated runs (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        levels, answer = read_both(arguments.parquet, arguments.json)
    except BadRecording as error:
        raise SystemExit(str(error)) from None
    print(report(levels, answer, arguments.seeds))


if __name__ == "__main__":
    main()
