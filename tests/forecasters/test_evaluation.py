"""The scores of a test channel, worked out by hand."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from forecasters.contract import ClientError
from forecasters.evaluation import evaluate, report
from forecasters.series import Series
from loopcast.forecast import Configuration, Prediction

NAN = float("nan")


class Always:
    """Forecasts 10 at every quantile, two steps ahead."""

    prediction_length = 2

    def predict(self, series: Series, configuration: Configuration) -> Prediction:
        assert not np.isnan(series.target).all()
        return Prediction(mean=[10, 10], quantiles={level: [10, 10] for level in configuration.quantiles})


def history(*target: float) -> Series:
    return Series(datetime(2025, 3, 5), np.array(target))


def test_the_last_horizon_of_every_series_is_scored_together() -> None:
    scores = evaluate(Always(), [history(1, 2, 12, 10), history(5, 6, 8, 10)], [0.1, 0.9], 100)
    # Errors of 2 and -2 on actual values that sum to 40.
    assert scores.rmse == pytest.approx(2**0.5)
    assert scores.weighted_quantile_losses == pytest.approx({0.1: 2 * (0.2 + 1.8) / 40, 0.9: 2 * (1.8 + 0.2) / 40})
    assert scores.weighted_quantile_loss == pytest.approx(0.1)
    assert scores.absolute_quantile_loss == pytest.approx(4)


def test_a_missing_actual_value_is_left_out() -> None:
    scores = evaluate(Always(), [history(1, 2, NAN, 13)], [0.5], 100)
    assert scores.rmse == pytest.approx(3)
    assert scores.weighted_quantile_loss == pytest.approx(3 / 13)


def test_zero_targets_score_nan() -> None:
    assert np.isnan(evaluate(Always(), [history(1, 0, 0)], [0.5], 100).weighted_quantile_loss)


def test_a_series_no_longer_than_the_horizon_is_refused_by_its_number() -> None:
    with pytest.raises(ClientError, match="series 2 of the test channel"):
        evaluate(Always(), [history(1, 2, 3), history(1, 2)], [0.5], 100)


def test_scores_are_printed_as_the_built_in_algorithm_prints_them() -> None:
    lines = report(evaluate(Always(), [history(1, 2, 12, 8)], [0.1, 0.5], 100)).splitlines()
    assert lines == [
        "#test_score (algo-1, RMSE): 2.0",
        "#test_score (algo-1, mean_absolute_QuantileLoss): 4.0",
        "#test_score (algo-1, mean_wQuantileLoss): 0.2",
        "#test_score (algo-1, wQuantileLoss[0.1]): 0.2",
        "#test_score (algo-1, wQuantileLoss[0.5]): 0.2",
        "#quality_metric: host=algo-1, test RMSE <loss>=2.0",
        "#quality_metric: host=algo-1, test mean_wQuantileLoss <loss>=0.2",
    ]
