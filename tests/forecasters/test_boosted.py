"""What the boosted model learns beside a series' own past: its categories and features; and daily shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.forecasters import planted
from tests.forecasters.conftest import Endpoint, Job, series
from tests.forecasters.planted import HORIZON, HYPERPARAMETERS

STEPS = 700
RANDOM = np.random.default_rng(5)
RAIN = RANDOM.integers(2, size=STEPS + HORIZON)


def rich(code: int, features: int, **more: object) -> dict[str, object]:
    """Where the feature is 1, values are high; the more so in the category 1."""
    noise = RANDOM.normal(0, 5, STEPS)
    target: list[object] = (100 + (1 + code) * 100 * RAIN[:STEPS] + noise).tolist()
    target[5], target[6] = None, "NaN"
    return series(target, cat=[code], dynamic_feat=[RAIN[:features].tolist()], **more)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    job = Job("forecasters.boosted", tmp_path_factory.mktemp("rich"))
    job.channel("train", rich(0, STEPS), rich(1, STEPS), file="some.json")
    job.channel("train", rich(1, STEPS), file="more.json.gz")
    job.channel("test", rich(0, STEPS))
    trained = job.train(**HYPERPARAMETERS, num_round=100, eta=0.3)
    assert trained.returncode == 0, trained.stderr
    with job.serving() as endpoint:
        yield endpoint


def test_a_feature_that_decides_the_target_is_learnt(endpoint: Endpoint) -> None:
    (prediction,) = endpoint.predictions(rich(1, STEPS + HORIZON), quantiles=["0.5"])
    high = np.array(prediction["quantiles"]["0.5"]) > 200
    assert high.tolist() == (RAIN[STEPS:] == 1).tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cat": [0, 1]}, "instance 0: cat must have 1 codes, as in training, not 2"),
        ({"cat": None}, "instance 0: cat must have 1 codes, as in training, not 0"),
        ({"dynamic_feat": None}, f"instance 0: dynamic_feat must have 1 rows of {STEPS + HORIZON} values"),
        ({"dynamic_feat": [[1.0] * 50]}, f"instance 0: dynamic_feat must have 1 rows of {STEPS + HORIZON} values"),
    ],
)
def test_a_request_must_bring_what_the_model_was_trained_with(
    endpoint: Endpoint, change: dict[str, object], says: str
) -> None:
    answer = endpoint.post({"instances": [rich(0, STEPS + HORIZON) | change]})
    assert answer.status_code == 400
    assert answer.text.startswith(says)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (rich(0, STEPS) | {"cat": []}, "some series of the train channel have fewer codes in cat than others"),
        (rich(0, STEPS) | {"dynamic_feat": []}, "some series of the train channel have fewer rows of dynamic_feat"),
        (rich(0, STEPS - 1), "dynamic_feat in the train channel must be as long as target"),
    ],
)
def test_series_that_do_not_fit_together_fail_the_job(boosted: Job, other: dict[str, object], says: str) -> None:
    boosted.channel("train", rich(0, STEPS), other)
    assert boosted.train(**HYPERPARAMETERS).returncode == 1
    assert boosted.failure.startswith(f"ClientError: {says}")


def test_a_history_of_less_than_two_horizons_fails_the_job(boosted: Job) -> None:
    boosted.channel("train", series(range(2 * HORIZON - 1)))
    assert boosted.train(**HYPERPARAMETERS).returncode == 1
    assert boosted.failure.startswith("ClientError: no series of the train channel has known values before and after")


def test_a_daily_shape_is_learnt(boosted: Job) -> None:
    target = planted.daily(8 * 288)
    trained, origins = 6 * 288, range(6 * 288, 8 * 288 - HORIZON, HORIZON)
    boosted.channel("train", series(target[:trained].tolist()))
    assert boosted.train(**HYPERPARAMETERS).returncode == 0
    with boosted.serving() as endpoint:
        foreseen = planted.forecasts(endpoint, target, origins)
    assert planted.loss(target, origins, foreseen) < 0.4 * planted.loss(target, origins, planted.naive(target, origins))
