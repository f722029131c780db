"""Models and baselines are judged on the same windows by numbers that are always defined or said not to be."""

import json

import numpy as np
import pytest

from components.algorithms import require_models
from components.baselines import baselines
from components.evaluate.evaluate import evaluate, parse_predictions, predictions_of
from components.evaluate.report import render
from components.evaluate.scores import score, windows_won
from components.hold_out.hold_out import hold_out
from components.run import Refused
from components.store_performance.constraints import constraints, regression_errors
from components.store_performance.store_performance import statistics
from tests.components.examples import feed, history

QUANTILES = [0.1, 0.5, 0.9]


def forecast(value: float, horizon: int = 2) -> dict[float, np.ndarray]:
    return {quantile: np.full(horizon, value) for quantile in QUANTILES}


def test_a_perfect_forecast_has_no_loss_and_one_that_misses_has_the_exact_loss() -> None:
    actual = [np.array([10.0, 10.0]), np.array([20.0, 20.0])]
    perfect = score(actual, [forecast(10), forecast(20)])
    assert (perfect.loss, perfect.bias, perfect.rmse, perfect.coverage) == (0, 0, 0, 1)
    low = score(actual, [forecast(5), forecast(10)])
    assert low.losses == pytest.approx({"0.1": 0.1, "0.5": 0.5, "0.9": 0.9})
    assert low.loss == pytest.approx(0.5)
    assert low.window_losses == pytest.approx([0.5, 0.5])
    assert low.bias == pytest.approx(-0.5)
    assert low.coverage == 0


def test_minutes_that_never_came_are_left_out() -> None:
    came = score([np.array([10.0, np.nan])], [forecast(5)])
    assert came.loss == score([np.array([10.0])], [forecast(5, 1)]).loss


def test_zero_targets_give_no_number_instead_of_an_error() -> None:
    stored = score([np.zeros(2)], [forecast(1)]).to_json()
    assert stored["loss"] is None
    assert stored["window_losses"] == [None]
    json.dumps(stored, allow_nan=False)


def test_windows_are_compared_pair_by_pair() -> None:
    assert windows_won([1.0, 2.0, 3.0], [2.0, 2.0, 4.0]) == 2


def test_baselines_are_compared_only_where_they_reach_back_far_enough_in_every_window() -> None:
    assert set(baselines(history(300), [200, 290], 10, QUANTILES)) == {"persistence", "empirical_1h"}
    assert set(baselines(history(500), [360, 490], 10, QUANTILES)) == {"persistence", "empirical_1h", "empirical_6h"}
    assert "empirical_24h" in baselines(history(2000), [1440, 1900], 10, QUANTILES)


def test_baselines_see_nothing_of_their_window() -> None:
    series = history(300)
    before = baselines(series, [200], 10, QUANTILES)
    series.target[200:] = 0
    after = baselines(series, [200], 10, QUANTILES)
    for name in before:
        np.testing.assert_array_equal(before[name][0][0.5], after[name][0][0.5])


def lines(*values: float, horizon: int = 10) -> str:
    return "\n".join(
        json.dumps({"quantiles": {f"{quantile:g}": [value] * horizon for quantile in QUANTILES}}) for value in values
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lines(1), "1 predictions for 2 windows"),
        (lines(1, 2, horizon=9), "lacks 10 finite numbers"),
        (lines(1, float("inf")), "lacks 10 finite numbers"),
        ('{"mean": [1]}\n{"mean": [1]}', "lacks 10 finite numbers"),
        ("no\njson", "no prediction"),
    ],
)
def test_unsound_predictions_are_refused(text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        parse_predictions(text, 2, 10, QUANTILES)


def test_a_model_that_cant_be_judged_does_not_hold_up_the_others() -> None:
    split = hold_out(history(300), 10, 8, 10)
    sound = lines(*[1.0] * 8)
    found, failed = predictions_of({"deepar": sound, "boosted": "?", "production": sound[:-50]}, split, QUANTILES)
    assert set(found) == {"deepar"}
    assert set(failed) == {"boosted", "production"}
    require_models(found, failed)


def test_a_run_of_which_no_model_can_be_judged_fails_with_every_reason() -> None:
    with pytest.raises(Refused, match=r"No model of this run could be judged\. It broke\. So did it\."):
        require_models(["production"], {"deepar": "It broke.", "empirical": "So did it."})


def evaluation(*roles: str, failed: dict[str, str] | None = None) -> dict:
    """An evaluation in which the model of each role forecasts a little worse than the one before it."""
    series = history(300)
    series.target[-3] = np.nan
    split = hold_out(series, 10, 8, 10)
    models = {
        role: parse_predictions(lines(*[1100.0 + 50 * index] * 8), 8, 10, QUANTILES) for index, role in enumerate(roles)
    }
    return {"run_id": "r1", "failed": failed or {}, **evaluate(feed(), series, split, models)}


def test_an_evaluation_judges_every_forecaster_on_the_same_windows_and_is_json() -> None:
    document = json.loads(json.dumps(evaluation("boosted", "deepar", "empirical"), allow_nan=False))
    assert set(document["scores"]) == {"boosted", "deepar", "empirical", "persistence", "empirical_1h"}
    assert {len(item["window_losses"]) for item in document["scores"].values()} == {8}
    assert document["best_candidate"] == "boosted"
    assert document["best_baseline"] in {"empirical", "persistence", "empirical_1h"}
    assert document["unit"] == "g/parcel"
    assert document["history"]["missing"] == 1
    assert (document["champion"], document["against_champion"]) == (None, {})


def test_an_evaluation_compares_this_runs_models_with_the_champion_in_the_same_windows() -> None:
    document = evaluation("boosted", "production", "empirical")
    assert document["champion"] == "production"
    better, worse = document["against_champion"]["boosted"], document["against_champion"]["empirical"]
    ours, theirs = (document["scores"][name]["window_losses"] for name in ("boosted", "production"))
    assert better["difference"] == pytest.approx(np.mean(theirs) - np.mean(ours))
    assert (better["windows"], worse["windows"]) == (8, 8)
    assert better["p_value"] < 0.5 < worse["p_value"]
    assert document["best_baseline"] != "production"


@pytest.mark.parametrize(("roles", "drawn"), [(["deepar", "production"], "DeepAR"), (["empirical"], "empirical")])
def test_the_report_shows_every_forecaster_and_each_window(roles: list[str], drawn: str) -> None:
    page = render(feed(), history(300), evaluation(*roles, failed={"boosted": "It broke."}))
    for name in (drawn, "persistence", "empirical quantiles of 1 h", "g/parcel", "gradient boosting. It broke."):
        assert name in page
    assert ("Against the model in production" in page) == ("production" in roles)
    assert page.count("<svg") == 1
    assert "nan" not in page.lower().split("<svg")[0]


def test_statistics_hold_the_pairs_of_window_losses() -> None:
    stored = statistics(evaluation("deepar", "staging"), "deepar")
    assert len(stored["origins"]) == len(stored["window_losses"]) == len(stored["baseline_window_losses"]) == 8
    assert stored["origins"] == sorted(stored["origins"])
    assert stored["losses_of_all"][stored["best_baseline"]] == min(
        value for name, value in stored["losses_of_all"].items() if name not in {"deepar", "staging"}
    )
    assert stored["against_champion"]["windows"] == 8


def test_constraints_have_the_monitors_form_and_the_exact_errors() -> None:
    errors = regression_errors(np.array([1.0, 3.0, np.nan]), np.array([2.0, 3.0, 9.0]))
    assert errors == pytest.approx({"mae": 0.5, "mse": 0.5, "rmse": 0.5**0.5, "r2": 0.5})
    assert constraints(errors)["regression_constraints"]["mae"] == {
        "threshold": 0.5,
        "comparison_operator": "GreaterThanThreshold",
    }
    assert constraints(errors)["regression_constraints"]["r2"]["comparison_operator"] == "LessThanThreshold"


def test_constraints_leave_out_what_is_not_defined() -> None:
    same = regression_errors(np.array([2.0, 2.0]), np.array([1.0, 1.0]))
    assert "r2" not in constraints(same)["regression_constraints"]
