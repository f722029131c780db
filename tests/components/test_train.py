"""Candidates are chosen when a step runs, and one that can't be trained is lost alone."""

import json
from typing import Any

import pytest

from components.algorithms import CANDIDATES, candidates_of
from components.image import VERSION
from components.jobs import STEPS
from components.run import Refused, Run
from components.train.hyperparameters import hyperparameters
from components.train.images import image_of
from components.train.train import Settings, instance_count, train
from loopcast import aws
from loopcast.feed import parse_feed
from loopcast.names import Names
from tests.components.examples import FEED_TEXT, feed, history
from tests.components.stack import make_run

FEED = parse_feed(FEED_TEXT.replace("name: parcels", "name: parcels-train"))
SETTINGS = Settings("ml.m5.large", {}, 60, 0.1)


@pytest.fixture
def names(aws) -> Names:
    return Names("choosing", "000000000000")


def put(names: Names, value: str, *path: str) -> None:
    aws.client("ssm").put_parameter(Name=names.parameter(*path), Value=value, Type="String", Overwrite=True)


def test_the_candidates_are_the_runs_own_before_ssms_before_all(names: Names) -> None:
    assert candidates_of(names) == CANDIDATES
    put(names, "deepar, boosted,deepar", "candidates")
    assert candidates_of(names) == ("deepar", "boosted")
    assert candidates_of(names, "statistical") == ("statistical",)


@pytest.mark.parametrize(
    ("text", "said"),
    [("deepar,oracle", "since oracle is not known"), ("empirical", "empirical is not known"), (" , ", "none is named")],
)
def test_an_algorithm_that_cant_be_a_candidate_is_refused_in_a_sentence(names: Names, text: str, said: str) -> None:
    with pytest.raises(Refused, match=rf"{said}.*choose of boosted, deepar, statistical"):
        candidates_of(names, text)


def test_an_algorithm_is_trained_on_one_instance_unless_ssm_says_more(names: Names) -> None:
    assert instance_count(names, "boosted") == 1
    put(names, "2", "training", "boosted", "instance_count")
    assert instance_count(names, "boosted") == 2
    put(names, "1.5", "training", "boosted", "instance_count")
    with pytest.raises(Refused, match=r"training/boosted/instance_count must be a whole number above 0, not 1\.5"):
        instance_count(names, "boosted")


@pytest.mark.parametrize("algorithm", [*CANDIDATES, "empirical"])
def test_hyperparameters_are_ssms_over_the_defaults_but_never_over_the_feeds(names: Names, algorithm: str) -> None:
    put(names, "7", "hyperparameters", algorithm, "seed")
    put(names, "99", "hyperparameters", algorithm, "prediction_length")
    found = hyperparameters(algorithm, feed(), names, 6)
    assert (found["seed"], found["prediction_length"], found["time_freq"]) == ("7", "10", "min")
    assert all(isinstance(value, str) for value in found.values())


def test_an_image_is_the_runs_own_or_the_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names("parcels", "000000000000")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert image_of(names, "deepar", {}) == "495149712605.dkr.ecr.eu-central-1.amazonaws.com/forecasting-deepar:1"
    assert image_of(names, "deepar", {"deepar": "mine:1"}) == "mine:1"
    assert "eu-central-1.amazonaws.com/loopcast-parcels/loopcast-boosted:" in image_of(names, "boosted", {})
    monkeypatch.setenv("AWS_REGION", "moon-1")
    with pytest.raises(Refused, match="No image of the built-in DeepAR is known in moon-1"):
        image_of(names, "deepar", {})


@pytest.mark.parametrize(("baked", "asked"), [("0.1.1", "0.1.1"), ("", VERSION), (None, VERSION)])
def test_an_algorithms_image_has_the_tag_of_the_image_that_asks_for_it_else_the_codes_version(
    monkeypatch: pytest.MonkeyPatch, baked: str | None, asked: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    if baked is None:
        monkeypatch.delenv("LOOPCAST_VERSION", raising=False)
    else:
        monkeypatch.setenv("LOOPCAST_VERSION", baked)
    assert image_of(Names("parcels", "1"), "boosted", {}).endswith(f"/loopcast-parcels/loopcast-boosted:{asked}")


def test_a_cancelled_run_knows_the_jobs_of_every_algorithm_and_champion() -> None:
    assert {"train-boosted", "train-deepar", "train-statistical", "train-empirical"} <= set(STEPS["training"])
    assert {"backtest-statistical", "backtest-empirical", "backtest-production", "backtest-staging"} <= set(
        STEPS["transform"]
    )


@pytest.fixture(scope="module")
def run(aws, sagemaker) -> Run:
    """A run with its channels, in which DeepAR has a hyperparameter that it doesn't know."""
    run = make_run(FEED, "r1")
    s3: Any = aws_client("s3")
    s3.create_bucket(Bucket=run.names.bucket)
    for channel in ("train", "test"):
        body = json.dumps(history(100).to_instance()).encode()
        s3.put_object(Bucket=run.names.bucket, Key=f"runs/r1/{channel}/series.json", Body=body)
    put(run.names, "1", "hyperparameters", "deepar", "nonsense")
    return run


def aws_client(service: str) -> Any:
    return aws.client(service)


def test_whatever_is_wrong_with_one_algorithm_the_others_are_trained(run: Run) -> None:
    put(run.names, "none", "training", "boosted", "instance_count")
    settings = Settings("ml.m5.large", {"statistical": "registry/unheard-of:1"}, 60, 0.1)
    trained = train(run, ["boosted", "deepar", "statistical", "empirical"], 1, settings)
    assert set(trained.models) == {"empirical"}
    assert "instance_count must be a number, not 'none'" in trained.failed["boosted"]
    assert "train-deepar-1 has failed: ClientError" in trained.failed["deepar"]
    assert "nonsense" in trained.failed["deepar"]
    assert "unheard-of" in trained.failed["statistical"]


def test_a_run_whose_every_training_fails_fails_with_every_reason(run: Run) -> None:
    with pytest.raises(Refused, match=r"Every training failed\. The training job .*nonsense"):
        train(run, ["deepar"], 1, SETTINGS)
