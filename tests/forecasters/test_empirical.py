"""The empirical baseline under the container contract; and what both programs share: reading channels, answering."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest

from tests.forecasters.conftest import Endpoint, Job, series

HYPERPARAMETERS = {"prediction_length": 3, "time_freq": "1min", "context_length": 5}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    job = Job("forecasters.empirical", tmp_path_factory.mktemp("empirical"))
    job.channel("train", series(range(20)))
    assert job.train(**HYPERPARAMETERS).returncode == 0
    batch = '{"num_samples": 7, "output_types": ["quantiles", "samples"], "quantiles": ["0.5"]}'
    with job.serving(DEEPAR_INFERENCE_CONFIG=batch) as endpoint:
        yield endpoint


def test_the_forecast_is_the_quantiles_of_the_latest_steps(endpoint: Endpoint) -> None:
    latest = [3.0, 1.0, 5.0, 2.0, 4.0]
    (prediction,) = endpoint.predictions(series([1000, 1000, *latest]), quantiles=["0.25", "0.5", "0.9"])
    assert prediction["quantiles"] == {
        "0.25": [2.0] * 3,
        "0.5": [3.0] * 3,
        "0.9": pytest.approx([np.quantile(latest, 0.9)] * 3),
    }
    assert prediction["mean"] == [3.0] * 3
    assert "samples" not in prediction


def test_samples_are_drawn_from_the_latest_steps_alike_each_time(endpoint: Endpoint) -> None:
    instance = series([9, 1, 2, 3, 4, 5])
    first, again = (
        endpoint.predictions(instance, num_samples=40, output_types=["samples"])[0]["samples"] for _ in range(2)
    )
    assert np.shape(first) == (40, 3)
    assert set(np.ravel(first)) == {1, 2, 3, 4, 5}
    assert first == again


@pytest.mark.parametrize("missing", [None, "NaN"])
def test_a_missing_value_is_left_out(endpoint: Endpoint, missing: object) -> None:
    (prediction,) = endpoint.predictions(series([1, missing, 3, missing, missing]), output_types=["mean"])
    assert prediction == {"mean": [2.0] * 3}


def test_a_target_without_a_known_value_is_refused(endpoint: Endpoint) -> None:
    answer = endpoint.post({"instances": [series([1] * 5), series([7, *[None] * 5])]})
    assert answer.status_code == 400
    assert answer.text == "instance 1: each of the latest 5 values of target is missing: there is nothing to go by"


def test_a_batch_is_a_prediction_a_line_with_the_environments_configuration(endpoint: Endpoint) -> None:
    answer = endpoint.post_lines([series([1] * 5), "", series([2] * 5)])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jsonlines"
    assert answer.text.splitlines() == [
        f'{{"quantiles":{{"0.5":[{value}.0,{value}.0,{value}.0]}},"samples":{[[float(value)] * 3] * 7}}}'.replace(
            " ", ""
        )
        for value in (1, 2)
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"instances": [{"target": [1, 2]}]}, "instances.0.start"),
        ({"instances": [series([1, "two"])]}, "instances.0.target.1"),
        ({"instances": [series([1])], "configuration": {"quantiles": ["1.5"]}}, "configuration.quantiles"),
        ({"instances": [series([1])], "configuration": {"num_samples": 0}}, "configuration.num_samples"),
        ({"instances": [series([1])], "configuration": {"output_types": ["median"]}}, "configuration.output_types"),
        ({"inputs": []}, "instances"),
        ({"instances": [series([1], dynamic_feat=[[1, 2], [1]])]}, "instance 0: the rows of dynamic_feat"),
        ({"instances": [series([1], dynamic_feat=[[1, None]])]}, "instance 0: dynamic_feat has a missing"),
        ({"instances": [series([1], cat=[-1])]}, "instance 0: cat has a negative code"),
    ],
)
def test_a_wrong_request_is_refused_with_the_place_of_the_mistake(endpoint: Endpoint, body: object, says: str) -> None:
    answer = endpoint.post(body)
    assert answer.status_code == 400
    assert answer.text.startswith(says)


def test_a_wrong_line_of_a_batch_is_refused_by_its_number(endpoint: Endpoint) -> None:
    answer = endpoint.post_lines([series([1]), '{"start": "2025-03-05"'])
    assert answer.status_code == 400
    assert answer.text.startswith("line 2: Invalid JSON")


def test_another_content_type_is_refused(endpoint: Endpoint) -> None:
    assert endpoint.post({}, **{"content-type": "text/csv"}).status_code == 415


def test_sigterm_stops_the_server_cleanly(empirical: Job) -> None:
    empirical.channel("train", series([1, 2, 3]))
    empirical.train(**HYPERPARAMETERS)
    with empirical.serving() as endpoint:
        endpoint.process.send_signal(signal.SIGTERM)
        assert endpoint.process.wait(20) == 0


def test_the_test_channels_scores_are_printed(empirical: Job) -> None:
    empirical.channel("train", series([4, 4, 4, 4, 4]))
    empirical.channel("test", series([4, 4, 4, 4, 4, 6, None, 2]))
    output = empirical.train(**HYPERPARAMETERS).stdout
    assert "#test_score (algo-1, RMSE): 2.0\n" in output
    assert "#test_score (algo-1, mean_wQuantileLoss): 0.5\n" in output
    assert output.count("wQuantileLoss[") == 9


def test_every_file_of_a_channel_is_read(empirical: Job) -> None:
    empirical.channel("train", series([1]))
    for file, actual in [("a.json", 3), ("b.jsonl", 5), ("c.json.gz", 7)]:
        empirical.channel("test", series([4, 4, actual, actual, actual]), file=file)
    output = empirical.train(**HYPERPARAMETERS).stdout
    # Errors of -1, 1 and 3 on the three files' series.
    assert f"#test_score (algo-1, RMSE): {(11 / 3) ** 0.5}\n" in output


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("a.json", '{"start": "2025-03-05", "target": [1]}\n{"start": "2025-03-05"}\n', "train/a.json:2: target:"),
        ("a.json", '\n{"start": "today", "target": [1]}', "train/a.json:2: start:"),
        ("a.json.gz", '{"start": "2025-03-05", "target": [1}', "train/a.json.gz:1: Invalid JSON"),
        ("a.parquet", "PAR1", "train/a.parquet: Parquet is not read by this image"),
        ("a.json", "", "the train channel's files hold no time series"),
    ],
)
def test_bad_data_fail_the_job_with_file_and_line(empirical: Job, file: str, text: str, says: str) -> None:
    empirical.write("train", file, text)
    assert empirical.train(**HYPERPARAMETERS).returncode == 1
    assert empirical.failure.startswith(f"ClientError: {says}")


def test_a_file_that_is_not_what_its_name_says_fails_the_job(empirical: Job) -> None:
    empirical.channel("train", series([1]))
    (empirical.base / "input" / "data" / "train" / "b.json.gz").write_bytes(b"not gzip")
    assert empirical.train(**HYPERPARAMETERS).returncode == 1
    assert empirical.failure.startswith("ClientError: train/b.json.gz can't be read")


def test_a_server_without_a_model_says_so(empirical: Job) -> None:
    with pytest.raises(RuntimeError, match="holds no model of this image"), empirical.serving():
        pass
