"""DeepAR under the container contract: real trainings and a real server, as small as they can be."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loopcast.metrics import mean_weighted_quantile_loss
from tests.conftest import free_port
from tests.forecasters.conftest import PYTHON, ROOT, Endpoint, Job, series

HORIZON = 12
MINUTES = 360
SMALL = {"prediction_length": HORIZON, "time_freq": "1min", "context_length": 12, "mini_batch_size": 32}
LEVELS = ("0.1", "0.5", "0.9")


def seasonal(minutes: int) -> list[float]:
    """A wave an hour long, with noise."""
    noise = np.random.default_rng(1).normal(0, 100, minutes)
    wave: list[float] = (4000 + 2000 * np.sin(np.arange(minutes) * 2 * np.pi / 60) + noise).tolist()
    return wave


@pytest.fixture(scope="module")
def seasonal_job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job("forecasters.deepar", tmp_path_factory.mktemp("seasonal"))
    job.channel("train", series(seasonal(MINUTES)))
    job.channel("test", series(seasonal(MINUTES + HORIZON)))
    return job


@pytest.fixture(scope="module")
def seasonal_training(seasonal_job: Job) -> subprocess.CompletedProcess[str]:
    trained = seasonal_job.train(**SMALL, epochs=15, learning_rate=0.01, test_quantiles="[0.1, 0.5]", seed=3)
    assert trained.returncode == 0, trained.stderr
    return trained


@pytest.fixture(scope="module")
def seasonal_endpoint(seasonal_job: Job, seasonal_training: subprocess.CompletedProcess[str]) -> Iterator[Endpoint]:
    batch = json.dumps({"num_samples": 50, "output_types": ["quantiles"], "quantiles": list(LEVELS)})
    with seasonal_job.serving(DEEPAR_INFERENCE_CONFIG=batch) as endpoint:
        yield endpoint


def test_the_training_prints_what_metric_definitions_parse(
    seasonal_training: subprocess.CompletedProcess[str],
) -> None:
    lines = seasonal_training.stdout.splitlines()
    losses = [line for line in lines if line.startswith("#quality_metric: host=algo-1, epoch=")]
    assert len(losses) == 15
    assert losses[0].startswith("#quality_metric: host=algo-1, epoch=0, train loss <loss>=")
    scores = [line.partition(":")[0] for line in lines if line.startswith("#test_score")]
    assert scores == [
        "#test_score (algo-1, RMSE)",
        "#test_score (algo-1, mean_absolute_QuantileLoss)",
        "#test_score (algo-1, mean_wQuantileLoss)",
        "#test_score (algo-1, wQuantileLoss[0.1])",
        "#test_score (algo-1, wQuantileLoss[0.5])",
    ]


def test_the_best_epochs_model_is_kept(seasonal_training: subprocess.CompletedProcess[str]) -> None:
    lines = seasonal_training.stdout.splitlines()
    losses = [float(line.rpartition("=")[2]) for line in lines if "epoch=" in line]
    final = [float(line.rpartition("=")[2]) for line in lines if "train final_loss" in line]
    assert final == [min(losses)]


def test_the_same_data_and_seed_give_the_same_model(
    seasonal_job: Job, seasonal_training: subprocess.CompletedProcess[str], deepar: Job
) -> None:
    deepar.channel("train", series(seasonal(MINUTES)))
    deepar.channel("test", series(seasonal(MINUTES + HORIZON)))
    again = deepar.train(**SMALL, epochs=15, learning_rate=0.01, test_quantiles="[0.1, 0.5]", seed=3)
    assert again.stdout == seasonal_training.stdout


def test_a_season_is_forecast_better_than_by_the_past_hours_quantiles(seasonal_endpoint: Endpoint) -> None:
    target = seasonal(MINUTES + HORIZON)
    past, actual = target[:MINUTES], np.array(target[MINUTES:])
    (prediction,) = seasonal_endpoint.predictions(series(past), quantiles=list(LEVELS), num_samples=200)
    forecast = {float(level): np.array(values) for level, values in prediction["quantiles"].items()}
    empirical = {float(level): np.full(HORIZON, np.quantile(past[-60:], float(level))) for level in LEVELS}
    assert mean_weighted_quantile_loss(actual, forecast) < 0.5 * mean_weighted_quantile_loss(actual, empirical)


def test_quantiles_rise_and_mean_and_samples_have_their_shapes(seasonal_endpoint: Endpoint) -> None:
    (prediction,) = seasonal_endpoint.predictions(
        series(seasonal(MINUTES)), num_samples=30, output_types=["mean", "quantiles", "samples"], quantiles=list(LEVELS)
    )
    low, middle, high = (np.array(prediction["quantiles"][level]) for level in LEVELS)
    assert low.shape == (HORIZON,)
    assert (low <= middle).all()
    assert (middle <= high).all()
    samples = np.array(prediction["samples"])
    assert samples.shape == (30, HORIZON)
    assert prediction["mean"] == pytest.approx(samples.mean(axis=0))
    assert middle == pytest.approx(np.median(samples, axis=0))


def test_a_series_is_forecast_alike_whatever_stands_beside_it(seasonal_endpoint: Endpoint) -> None:
    one, other = series(seasonal(MINUTES)), series(seasonal(100))
    (alone,) = seasonal_endpoint.predictions(one)
    assert seasonal_endpoint.predictions(other, one)[1] == alone


def test_a_batch_answers_a_line_for_each_line(seasonal_endpoint: Endpoint) -> None:
    windows = [series(seasonal(MINUTES)[: MINUTES - 5 * window]) for window in range(8)]
    answer = seasonal_endpoint.post_lines(windows)
    predictions = [json.loads(line) for line in answer.text.splitlines()]
    assert predictions == seasonal_endpoint.predictions(
        *windows, num_samples=50, output_types=["quantiles"], quantiles=list(LEVELS)
    )
    assert len(predictions) == 8


@pytest.mark.parametrize("target", [[], [None] * 20, [5.0], [*seasonal(30), None, "NaN"]])
def test_short_and_gappy_histories_are_forecast(seasonal_endpoint: Endpoint, target: list[object]) -> None:
    (prediction,) = seasonal_endpoint.predictions(series(target))
    assert np.isfinite(prediction["mean"]).all()


def test_only_what_a_short_history_teaches_is_shown_to_the_network(
    seasonal_job: Job, seasonal_training: subprocess.CompletedProcess[str]
) -> None:
    layout = seasonal_job.manifest["layout"]
    assert layout["time_features"] == ["minute_of_hour"]  # six hours say nothing of days, weeks and months
    assert layout["lags"][0] == 1
    assert max(layout["lags"]) <= MINUTES // 2


# --- several series, with categories and features -------------------------------------------------------------


def rich(length: int, code: int, features: int, **more: object) -> dict[str, object]:
    target: list[object] = [100.0 * (code + 1) + step % 7 for step in range(length)]
    target[5], target[6] = None, "NaN"
    feature = [[float(step % 3) for step in range(features)]]
    return series(target, cat=[code, 1], dynamic_feat=feature, **more)


@pytest.fixture(scope="module")
def rich_job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job("forecasters.deepar", tmp_path_factory.mktemp("rich"))
    job.channel("train", rich(60, 0, 60), rich(80, 1, 80), file="some.json")
    job.channel("train", rich(50, 2, 50), file="more.json.gz")
    job.channel("test", rich(70, 0, 70), rich(70, 2, 70))
    return job


@pytest.fixture(scope="module")
def rich_training(rich_job: Job) -> subprocess.CompletedProcess[str]:
    # It learns next to nothing, so that early stopping has its day.
    trained = rich_job.train(
        **SMALL, epochs=60, learning_rate=1e-9, early_stopping_patience=2, num_cells=8, num_layers=1
    )
    assert trained.returncode == 0, trained.stderr
    return trained


@pytest.fixture(scope="module")
def rich_endpoint(rich_job: Job, rich_training: subprocess.CompletedProcess[str]) -> Iterator[Endpoint]:
    with rich_job.serving() as endpoint:
        yield endpoint


def test_training_stops_after_its_patience_without_progress(rich_training: subprocess.CompletedProcess[str]) -> None:
    losses = [float(line.rpartition("=")[2]) for line in rich_training.stdout.splitlines() if "epoch=" in line]
    assert len(losses) < 60
    assert losses.index(min(losses)) == len(losses) - 3


def test_cardinality_and_features_are_found_in_the_data(
    rich_job: Job, rich_training: subprocess.CompletedProcess[str]
) -> None:
    layout = rich_job.manifest["layout"]
    assert layout["cardinality"] == [3, 2]
    assert len(layout["feature_means"]) == 1


def test_category_and_future_features_change_a_forecast(rich_endpoint: Endpoint) -> None:
    instance = rich(50, 0, 50 + HORIZON)
    (as_it_is,) = rich_endpoint.predictions(instance)
    (other_category,) = rich_endpoint.predictions(instance | {"cat": [1, 1]})
    features = instance["dynamic_feat"]
    assert isinstance(features, list)
    (other_future,) = rich_endpoint.predictions(instance | {"dynamic_feat": [features[0][:50] + [9.0] * HORIZON]})
    assert as_it_is["mean"] != other_category["mean"]
    assert as_it_is["mean"] != other_future["mean"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cat": [3, 0]}, "instance 0: cat has the code 3, but the model knows codes below 3"),
        ({"cat": [0]}, "instance 0: cat must have 2 codes, as in training, not 1"),
        ({"cat": None}, "instance 0: cat must have 2 codes, as in training, not 0"),
        ({"dynamic_feat": None}, "instance 0: dynamic_feat must have 1 rows of 62 values"),
        ({"dynamic_feat": [[1.0] * 50]}, "instance 0: dynamic_feat must have 1 rows of 62 values"),
    ],
)
def test_a_request_must_bring_what_the_model_was_trained_with(
    rich_endpoint: Endpoint, change: dict[str, object], says: str
) -> None:
    answer = rich_endpoint.post({"instances": [rich(50, 0, 50 + HORIZON) | change]})
    assert answer.status_code == 400
    assert answer.text.startswith(says)


# --- failures -------------------------------------------------------------------------------------------------


def test_a_wrong_hyperparameter_fails_the_job_in_the_algorithms_words(deepar: Job) -> None:
    deepar.channel("train", series(seasonal(100)))
    assert deepar.train(**SMALL, epochs="some", optimizer="sgd").returncode == 1
    assert deepar.failure.startswith(
        "ClientError: Unable to initialize the algorithm. Failed to validate hyperparameters. "
        "(caused by ValidationError)\nCaused by: 'some' is not valid for epochs:"
    )
    assert "('optimizer' was unexpected)" in deepar.failure


def test_a_job_without_a_train_channel_fails(deepar: Job) -> None:
    assert deepar.train(**SMALL, epochs=1).returncode == 1
    assert deepar.failure.startswith("ClientError: the train channel has no data")


def on_host(job: Job, hosts: list[str], number: int, port: int) -> subprocess.Popen[str]:
    """Trains on one of the hosts."""
    job.channel("train", series(WAVE))
    config = job.base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps({key: str(v) for key, v in {**SMALL, "epochs": 2}.items()}))
    (config / "resourceconfig.json").write_text(json.dumps({"hosts": hosts, "current_host": hosts[number]}))
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(job.base), "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [str(PYTHON), "-W", "error", "-m", job.module, "train"], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_hosts_train_one_model_together_and_the_first_writes_it(tmp_path: Path) -> None:
    hosts, port = ["127.0.0.1", "127.0.0.2"], free_port()
    jobs = [Job("forecasters.deepar", tmp_path / host) for host in hosts]
    programs = [on_host(job, hosts, number, port) for number, job in enumerate(jobs)]
    said = [program.communicate(timeout=120)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0]
    assert "train final_loss" in said[0]
    assert "train final_loss" not in said[1]
    assert jobs[0].manifest["hyperparameters"]["epochs"] == 2
    assert not (jobs[1].base / "model").exists()
    alone = Job("forecasters.deepar", tmp_path / "alone")
    alone.channel("train", series(WAVE))
    assert alone.train(**SMALL, epochs=2).stdout != said[0]  # the others' windows have counted


# One process for all of these: importing torch takes longer than each.
EACH = """
import io, json, sys
from contextlib import redirect_stdout
from datetime import datetime
import numpy as np
from forecasters.contract import ClientError
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.deepar.model import train
from forecasters.series import Series
from loopcast.forecast import Configuration

def attempt(target, cat, hyperparameters):
    series = Series(datetime(2025, 3, 5), np.array(target), tuple(cat))
    try:
        with redirect_stdout(io.StringIO()):
            model = train(DeepARHyperparameters.model_validate(hyperparameters), [series])
        return model.predict(series, Configuration(output_types=["samples"], num_samples=20)).samples
    except ClientError as error:
        return str(error)

json.dump([attempt(**case) for case in json.load(sys.stdin)], sys.stdout)
"""
WAVE = (0.5 + 0.4 * np.sin(np.arange(100))).tolist()
LIKELIHOODS = ("gaussian", "beta", "negative-binomial", "student-T", "deterministic-L1")
FREQUENCIES = ("M", "2W", "D", "12H", "5min")
REFUSALS = [
    (WAVE, (), {"prediction_length": 100}, "no series of the train channel is longer than prediction_length (100)"),
    ([5.0] * 50, (), {"likelihood": "beta"}, "likelihood beta takes targets between 0 and 1 only"),
    ([-5.0] * 50, (), {"likelihood": "negative-binomial"}, "likelihood negative-binomial takes no negative targets"),
    ([float("nan")] * 50, (), {}, "each target value of the train channel is missing"),
    ([1e31] * 50, (), {}, "a target value of the train channel is beyond 1e+30"),
    (WAVE, (2,), {"cardinality": "[2]"}, "cardinality is [2], but cat in the train channel needs [3]"),
    (WAVE, (), {"num_dynamic_feat": 1}, "num_dynamic_feat is 1, but dynamic_feat in the train channel has 0"),
]


def case(target: list[float] = WAVE, cat: tuple[int, ...] = (), **hyperparameters: object) -> dict[str, object]:
    given = {"epochs": 1, "prediction_length": 4, "context_length": 6, "time_freq": "H", "mini_batch_size": 8}
    return {"target": target, "cat": cat, "hyperparameters": given | hyperparameters}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What became of each case: its samples, or the reason why it was refused."""
    cases = {
        **{name: case(likelihood=name) for name in LIKELIHOODS},
        **{name: case(time_freq=name) for name in FREQUENCIES},
        **{says: case(target, cat, **given) for target, cat, given, says in REFUSALS},
        "context of one step": case(context_length=1),
    }
    run = subprocess.run(
        [str(PYTHON), "-W", "error", "-c", EACH],
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    return dict(zip(cases, json.loads(run.stdout), strict=True))


@pytest.mark.parametrize("name", [*LIKELIHOODS, *FREQUENCIES, "context of one step"])
def test_each_likelihood_and_frequency_can_be_trained(outcomes: dict[str, object], name: str) -> None:
    samples = np.array(outcomes[name], dtype=float)
    assert samples.shape == (20, 4)
    assert np.isfinite(samples).all()


def test_samples_lie_where_their_likelihood_puts_them(outcomes: dict[str, object]) -> None:
    beta, counts, point = (np.array(outcomes[name]) for name in ("beta", "negative-binomial", "deterministic-L1"))
    assert ((beta >= 0) & (beta <= 1)).all()
    assert (counts == counts.round()).all()
    assert (counts >= 0).all()
    assert (point == point[0]).all()


@pytest.mark.parametrize("says", [says for *_, says in REFUSALS])
def test_data_that_can_not_be_learnt_from_are_refused(outcomes: dict[str, object], says: str) -> None:
    assert str(outcomes[says]).startswith(says)
