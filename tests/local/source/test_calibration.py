from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from local.source import fit
from local.source.bodies import SimulatedBodies
from local.source.calibrate import calibrate, read_both, shapes_of
from local.source.calibration import Memory
from local.source.generators import RecordedLevels, RecordedTransactions, Simulated
from local.source.levels import SimulatedLevels
from local.source.recordings import Answer
from local.source.regime import Regime
from tests.local.source.conftest import SEED, START

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture(scope="module")
def recordings():
    if not SHARED.is_dir():
        pytest.skip("the recordings in ../shared/data are absent")
    return read_both(*SHARED.glob("mempool-5min-*.parquet"), *SHARED.glob("unconfirmed-transactions-*.json"))


def test_levels_stay_within_what_was_recorded(calibration):
    levels = SimulatedLevels(calibration, START, SEED)
    found = np.array([levels.slot(slot) for slot in range(2000)])
    for column, marginal in zip(found.T, (calibration.arrivals, calibration.fees), strict=True):
        lowest = marginal.quantiles[0] + min(marginal.hourly)
        highest = marginal.quantiles[-1] + max(marginal.hourly)
        assert lowest - 1e-9 <= np.log(column).min() < np.log(column).max() <= highest + 1e-9


def test_levels_that_forget_slowly_move_slowly(calibration):
    def steps(minutes):
        memory = Memory(minutes=[minutes], fee_weights=[1.0], arrival_weights=[1.0], correlations=[0.0])
        levels = SimulatedLevels(calibration.model_copy(update={"memory": memory}), START, SEED)
        return np.abs(np.diff([np.log(levels.slot(slot)[1]) for slot in range(1000)])).mean()

    assert steps(10_000.0) < steps(100.0) / 3 < steps(1.0) / 3


def test_a_huge_fee_is_rare_and_never_above_the_largest_recorded(calibration):
    generator = Simulated(calibration, START, SEED)
    fees = np.concatenate([generator.draw(s, Regime(), np.random.default_rng(s)).fees for s in range(200)])
    usual = np.median(fees)
    assert 0.0005 < (fees > 20 * usual).mean() < 0.01
    assert fees.max() < 1e6 * usual


@pytest.mark.shared
def test_the_committed_statistics_are_those_of_the_recordings(recordings, calibration):
    assert calibrate(*recordings) == calibration


@pytest.mark.shared
def test_a_shape_s_size_and_weight_are_those_of_the_transactions_that_have_it(recordings):
    _, answer = recordings
    for transaction, fee in zip(answer.transactions, answer.fees, strict=True):
        shapes = shapes_of(Answer([transaction], [fee]))
        bodies = SimulatedBodies(shapes, [1000], seed=0)
        assert (bodies.sizes[0], bodies.weights[0]) == (transaction["size"], transaction["weight"])


@pytest.mark.shared
def test_simulated_quantiles_and_memory_are_near_the_recorded(recordings):
    levels, _ = recordings
    real, runs = fit.recorded(levels), [fit.simulated(levels, seed) for seed in range(2)]
    for q, tolerance in ((0.05, 0.35), (0.25, 0.2), (0.5, 0.15), (0.75, 0.15), (0.95, 0.2)):
        for name in ("fees", "arrivals"):
            found = np.mean([np.quantile(getattr(run, name), q) for run in runs])
            assert found == pytest.approx(np.quantile(getattr(real, name), q), rel=tolerance)
    for lag in (1, 6, 12, 72):
        found = np.mean([fit._autocorrelation(run.fees, lag) for run in runs])
        assert found == pytest.approx(fit._autocorrelation(real.fees, lag), abs=0.1)


@pytest.mark.shared
def test_the_shared_levels_are_followed(recordings, calibration):
    levels, _ = recordings
    generator = RecordedLevels(levels, calibration, START, SEED)
    for slot in range(0, len(levels.times), 50):
        fees = generator.draw(slot, Regime(), np.random.default_rng(slot)).fees
        snapshot = generator.snapshot(slot)
        assert abs(len(fees) - levels.counts[snapshot] / 2) <= 0.5
        assert fees.mean() == pytest.approx(levels.fees[snapshot], abs=0.5 / len(fees) + 1e-6)


@pytest.mark.shared
def test_the_shared_answer_is_listed_again(recordings, calibration):
    _, answer = recordings
    generator = RecordedTransactions(answer, calibration, START, SEED)
    draw = generator.draw(0, Regime(), np.random.default_rng(0))
    assert set(draw.fees) <= set(answer.fees)
    assert len(json.dumps(answer.transactions)) > 100_000
