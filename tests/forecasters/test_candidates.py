"""The boosted and the statistical model, each trained and served as a program: what both promise."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.forecasters import planted
from tests.forecasters.conftest import Endpoint, Job, series
from tests.forecasters.planted import HORIZON, HYPERPARAMETERS, LEVELS

MODULES = ("forecasters.boosted", "forecasters.statistical")
TRAINED = 1200
ORIGINS = range(TRAINED, TRAINED + 60 * HORIZON, HORIZON)
WANDERING = planted.wandering(TRAINED + 61 * HORIZON)
BATCH = json.dumps({"num_samples": 50, "output_types": ["quantiles"], "quantiles": list(LEVELS)})


@pytest.fixture(scope="module", params=MODULES)
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(request.param, tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def training(job: Job) -> subprocess.CompletedProcess[str]:
    job.channel("train", series(WANDERING[:TRAINED].tolist()))
    job.channel("test", series(WANDERING[: TRAINED + HORIZON].tolist()))
    trained = job.train(**HYPERPARAMETERS, test_quantiles=json.dumps([float(level) for level in LEVELS]))
    assert trained.returncode == 0, trained.stderr
    return trained


@pytest.fixture(scope="module")
def endpoint(job: Job, training: subprocess.CompletedProcess[str]) -> Iterator[Endpoint]:
    with job.serving(DEEPAR_INFERENCE_CONFIG=BATCH) as endpoint:
        yield endpoint


def test_the_training_prints_the_test_channels_scores(training: subprocess.CompletedProcess[str]) -> None:
    scores = [line.partition(":")[0] for line in training.stdout.splitlines() if line.startswith("#test_score")]
    assert scores == [
        "#test_score (algo-1, RMSE)",
        "#test_score (algo-1, mean_absolute_QuantileLoss)",
        "#test_score (algo-1, mean_wQuantileLoss)",
        *(f"#test_score (algo-1, wQuantileLoss[{level}])" for level in LEVELS),
    ]


def test_what_a_level_does_next_is_forecast_better_than_by_its_latest_quantiles(endpoint: Endpoint) -> None:
    foreseen = planted.forecasts(endpoint, WANDERING, ORIGINS)
    naive = planted.naive(WANDERING, ORIGINS)
    assert planted.loss(WANDERING, ORIGINS, foreseen) < 0.85 * planted.loss(WANDERING, ORIGINS, naive)
    assert 0.8 < planted.covered(WANDERING, ORIGINS, foreseen) < 0.96


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_forecast_scales_with_its_series(endpoint: Endpoint, scale: float) -> None:
    past = WANDERING[TRAINED - 288 : TRAINED]
    (plain,) = endpoint.predictions(series(past.tolist()))
    (scaled,) = endpoint.predictions(series((scale * past).tolist()))
    assert np.array(scaled["mean"]) == pytest.approx(scale * np.array(plain["mean"]))


def test_it_follows_a_tripled_level_without_another_training(endpoint: Endpoint) -> None:
    tripled = WANDERING.copy()
    tripled[TRAINED:] *= 3
    since = range(TRAINED + 144, TRAINED + 300, HORIZON)  # from half a day after the change on
    foreseen = planted.forecasts(endpoint, tripled, since)
    naive = planted.naive(tripled, since)
    assert planted.loss(tripled, since, foreseen) < 0.9 * planted.loss(tripled, since, naive)


def test_quantiles_rise_with_their_level_however_they_are_asked_for(endpoint: Endpoint) -> None:
    levels = ["0.999", "0.5", "0.001", "0.03", "0.9", "0.07", "0.97"]
    histories = [WANDERING[TRAINED - past : TRAINED].tolist() for past in (1, 3, 20, 288, 1000)]
    for prediction in endpoint.predictions(*(series(history) for history in histories), quantiles=levels):
        assert list(prediction["quantiles"]) == levels
        assert np.shape(prediction["quantiles"]["0.5"]) == (HORIZON,)
        assert planted.rises(prediction)


def test_mean_and_samples_are_those_of_the_quantiles(endpoint: Endpoint) -> None:
    (prediction,) = endpoint.predictions(
        series(WANDERING[:TRAINED].tolist()), num_samples=4000, output_types=["mean", "quantiles", "samples"]
    )
    samples = np.array(prediction["samples"])
    assert samples.shape == (4000, HORIZON)
    assert samples.mean(axis=0) == pytest.approx(prediction["mean"], rel=0.05)
    for level in ("0.1", "0.5", "0.9"):
        assert np.quantile(samples, float(level), axis=0) == pytest.approx(prediction["quantiles"][level], rel=0.08)


def test_only_what_was_asked_for_is_answered(endpoint: Endpoint) -> None:
    (prediction,) = endpoint.predictions(series(WANDERING[:50].tolist()), output_types=["mean"])
    assert list(prediction) == ["mean"]


def test_missing_values_cost_little(endpoint: Endpoint) -> None:
    whole = WANDERING[TRAINED - 288 : TRAINED]
    gappy: list[float | None] = [None if step % 3 == 1 else value for step, value in enumerate(whole.tolist())]
    complete, holed = endpoint.predictions(series(whole.tolist()), series(gappy), quantiles=["0.5"])
    assert holed["quantiles"]["0.5"] == pytest.approx(complete["quantiles"]["0.5"], rel=0.25)


@pytest.mark.parametrize("target", [[5.0], [None, 7.0, None], [3.0] * 300, [0.0] * 290 + [1.0] * 10, [-2.0, 4.0] * 40])
def test_any_history_with_a_known_value_is_forecast_within_it(endpoint: Endpoint, target: list[float | None]) -> None:
    (prediction,) = endpoint.predictions(series(target))
    known = [value for value in target if value is not None]
    assert np.min(prediction["quantiles"]["0.1"]) >= min(known)
    assert np.max(prediction["quantiles"]["0.9"]) <= max(known)


def test_a_history_without_a_known_value_is_refused(endpoint: Endpoint) -> None:
    answer = endpoint.post({"instances": [series([1, 2]), series([None] * 300)]})
    assert answer.status_code == 400
    assert answer.text == "instance 1: each of the latest 288 values of target is missing: there is nothing to go by"


def test_a_batch_answers_a_line_for_each_line_as_a_request_would(endpoint: Endpoint) -> None:
    windows = [series(WANDERING[origin - 288 : origin].tolist()) for origin in (700, 800, 900)]
    answer = endpoint.post_lines(windows)
    assert [json.loads(line) for line in answer.text.splitlines()] == endpoint.predictions(
        *windows, output_types=["quantiles"], quantiles=list(LEVELS)
    )


def test_the_same_data_and_seed_give_the_same_model(
    job: Job, training: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    again = Job(job.module, tmp_path)
    again.channel("train", series(WANDERING[:TRAINED].tolist()))
    assert again.train(**HYPERPARAMETERS, test_quantiles="[0.05, 0.5, 0.95]").returncode == 0
    files = {file.name for file in (again.base / "model").iterdir()}
    assert files == {file.name for file in (job.base / "model").iterdir()}
    for file in files:
        assert (again.base / "model" / file).read_bytes() == (job.base / "model" / file).read_bytes()


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_hyperparameter_fails_the_job_by_name(module: str, tmp_path: Path) -> None:
    job = Job(module, tmp_path)
    job.channel("train", series([1, 2, 3]))
    assert job.train(prediction_length="soon", time_freq="5min", epochs=3).returncode == 1
    assert "Caused by: 'soon' is not valid for prediction_length:" in job.failure
    assert "('epochs' was unexpected)" in job.failure


@pytest.mark.parametrize("module", MODULES)
def test_a_series_without_a_known_value_fails_the_job(module: str, tmp_path: Path) -> None:
    job = Job(module, tmp_path)
    job.channel("train", series([None] * 100))
    assert job.train(**HYPERPARAMETERS).returncode == 1
    assert job.failure.startswith("ClientError: ")
    assert job.failure.endswith("there is nothing to learn from")


@pytest.mark.parametrize("module", MODULES)
def test_a_server_without_a_model_says_so(module: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="holds no model of this image"), Job(module, tmp_path).serving():
        pass
