"""What the simulator knows of the real feed: the statistics in calibration.json, made by `local.source.calibrate`."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).with_name("calibration.json")

LEVELS = (
    *(0.0005, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    *(0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.998, 0.9995),
)
"""The probabilities that the quantiles of a marginal stand for."""

SCORES = tuple(NormalDist().inv_cdf(level) for level in LEVELS)
"""The same as scores of the standard normal distribution."""

TAIL_FROM = 0.95
"""Fee rates above this probability follow the Pareto tail."""

BODY_LEVELS = tuple(TAIL_FROM * step / 19 for step in range(20))
"""The probabilities that the quantiles of fee rates below the tail stand for."""

Floats = list[float]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Marginal(_Model):
    """The distribution of a level's logarithm: an offset for each hour of the day (UTC), and quantiles round it."""

    hourly: Annotated[Floats, Field(min_length=24, max_length=24)]
    quantiles: Annotated[Floats, Field(min_length=len(LEVELS), max_length=len(LEVELS))]


class Memory(_Model):
    """How levels move: each is a sum of processes that forget within `minutes`, one weight (a variance) each.

    `correlations` are those of the fee level with the arrivals in each process.
    """

    minutes: Floats
    fee_weights: Floats
    arrival_weights: Floats
    correlations: Floats


class FeeRates(_Model):
    """A single transaction's fee rate over the median: quantiles up to `TAIL_FROM`, above it a Pareto tail."""

    quantiles: Annotated[Floats, Field(min_length=len(BODY_LEVELS), max_length=len(BODY_LEVELS))]
    tail_index: Annotated[float, Field(gt=1)]
    largest: float


class Input(_Model):
    """An input: the kind of the output it spends, and the bytes of its script and its witness."""

    kind: str
    spent_bytes: int
    script_bytes: int
    witness_bytes: int


class Output(_Model):
    """An output: its kind and the bytes of its script."""

    kind: str
    script_bytes: int


class Shape(_Model):
    """What transactions look like, and the share of all that look so."""

    share: Annotated[float, Field(gt=0, le=1)]
    version: int
    rbf: bool
    inputs: list[Input]
    outputs: list[Output]


class Calibration(_Model):
    """Statistics of the recordings. Arrivals are transactions a minute, fees satoshi a transaction.

    `burst_shape` is the shape of the gamma distribution of a second's share in a minute's arrivals; `amounts` are
    quantiles, evenly spaced, of what an output holds, in satoshi.
    """

    arrivals: Marginal
    fees: Marginal
    memory: Memory
    fee_rates: FeeRates
    burst_shape: float
    amounts: list[int]
    shapes: list[Shape]


def load_calibration(path: Path = FILE) -> Calibration:
    return Calibration.model_validate_json(path.read_bytes())
