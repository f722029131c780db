"""The analyzer joins predictions to what came true by event, and measures what the built-in monitor measures."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.store_performance.constraints import constraints, regression_errors
from local.sagemaker.analyzer.__main__ import analyze
from local.sagemaker.analyzer.constraints import suggest, violations
from local.sagemaker.analyzer.merge import merge
from local.sagemaker.analyzer.metrics import errors, plain, regression_metrics
from local.sagemaker.analyzer.publish import metric_data
from local.sagemaker.analyzer.records import Record, Unreadable, ground_truth, numbers, prediction
from local.sagemaker.analyzer.settings import AnalysisFailed, read_settings

PLACE = ("2026/01/01/00/a.jsonl", 1)
VALUES = st.floats(-1e6, 1e6)
RECORDS = st.lists(
    st.builds(Record, st.sampled_from("abcd"), st.tuples(VALUES), st.tuples(st.just(""), st.just(""), st.integers())),
    max_size=12,
)


@given(RECORDS, RECORDS, st.randoms())
def test_the_order_of_records_does_not_matter(
    predictions: list[Record], labels: list[Record], shuffle: random.Random
) -> None:
    # Two records can't stand on the same line of the same file.
    predictions = list({record.newness: record for record in predictions}.values())
    labels = list({record.newness: record for record in labels}.values())
    before = merge(predictions, labels)
    shuffle.shuffle(predictions)
    shuffle.shuffle(labels)
    after = merge(predictions, labels)
    assert before.predictions.tolist() == after.predictions.tolist()
    assert before.labels.tolist() == after.labels.tolist()


@given(RECORDS, RECORDS)
def test_every_event_is_a_pair_or_counted_as_none(predictions: list[Record], labels: list[Record]) -> None:
    merged = merge(predictions, labels)
    events = {record.event for record in predictions}, {record.event for record in labels}
    assert len(merged.labels) == len(events[0] & events[1])
    assert merged.without_ground_truth == len(events[0] - events[1])
    assert merged.without_prediction == len(events[1] - events[0])


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_the_newest_ground_truth_of_an_event_wins(values: list[float]) -> None:
    labels = [Record("e", (value,), ("", f"2026/01/01/{hour:02}", 1)) for hour, value in enumerate(values)]
    merged = merge([Record("e", (0.0,), ("", "", 1))], reversed(labels))
    assert merged.labels.tolist() == [values[-1]]


def test_a_label_that_never_came_is_left_out() -> None:
    merged = merge([Record("e", (1.0, 2.0), ("", "", 1))], [Record("e", (float("nan"), 3.0), ("", "", 1))])
    assert (merged.predictions.tolist(), merged.labels.tolist()) == ([2.0], [3.0])


def test_an_event_with_another_number_of_labels_is_no_pair() -> None:
    merged = merge([Record("e", (1.0, 2.0), ("", "", 1))], [Record("e", (3.0,), ("", "", 1))])
    assert (len(merged.labels), merged.unequal) == (0, 1)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.integers(1, 50))
def test_a_planted_error_is_measured_exactly(labels: list[int], error: int) -> None:
    actual = np.array(labels, dtype=float)
    signs = np.where(np.arange(len(labels)) % 2, error, -error)
    found = errors(actual, actual + signs)
    assert (found["mae"], found["mse"], found["rmse"]) == (error, error**2, error)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=30))
def test_the_monitor_measures_what_the_build_measured(pairs: list[tuple[float, float]]) -> None:
    actual, median = np.array(pairs).T
    measured, built = errors(actual, median), regression_errors(actual, median)
    assert all(built[name] is None or value == pytest.approx(built[name]) for name, value in measured.items())


def test_standard_deviations_need_200_samples_as_on_aws() -> None:
    labels = np.arange(199.0)
    few, many = (regression_metrics(values, values + values % 7) for values in (labels, np.arange(200.0)))
    assert plain(few)["rmse"]["standard_deviation"] == "NaN"
    assert 0 < many["rmse"]["standard_deviation"] < many["rmse"]["value"]
    assert many == regression_metrics(np.arange(200.0), np.arange(200.0) + np.arange(200.0) % 7)


def test_constraints_of_the_build_are_checked_as_they_are() -> None:
    stated = constraints({"mae": 1.0, "mse": 9.0, "rmse": 3.0, "r2": 0.5})
    metrics = regression_metrics(np.array([0.0, 10.0]), np.array([2.0, 8.0]))
    assert violations(metrics, stated) == [
        {
            "constraint_check_type": "GreaterThanThreshold",
            "description": "Metric mae with 2.0 was GreaterThanThreshold '1.0'",
            "metric_name": "mae",
        }
    ]


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=10))
def test_a_baseline_keeps_the_constraints_that_it_suggests(pairs: list[tuple[float, float]]) -> None:
    metrics = regression_metrics(*np.array(pairs).T)
    assert violations(metrics, suggest(metrics)) == []


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"regression_constraints": {"mae": {"threshold": "much", "comparison_operator": "GreaterThanThreshold"}}},
        {"regression_constraints": {"mae": {"threshold": 1.0, "comparison_operator": "AtMost"}}},
    ],
)
def test_constraints_that_are_none_are_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(AnalysisFailed):
        violations(regression_metrics(np.array([1.0]), np.array([1.0])), stated)


def test_the_callers_inference_id_counts_before_the_event_id() -> None:
    assert prediction(captured("7", eventId="e", inferenceId="mine"), "0", PLACE).event == "mine"
    assert prediction(captured("7", eventId="e"), "0", PLACE).event == "e"


@pytest.mark.parametrize(
    ("part", "attribute", "expected"),
    [
        ({"data": "1.5", "encoding": "CSV"}, "0", (1.5,)),
        ({"data": "0,2\n0,3\n", "encoding": "CSV"}, "1", (2.0, 3.0)),
        ({"data": '{"score": 4}', "encoding": "JSON"}, "score", (4.0,)),
        (
            {"data": '{"predictions": [{"quantiles": {"0.5": [5, 6]}}]}', "encoding": "JSON"},
            'predictions[0].quantiles."0.5"',
            (5.0, 6.0),
        ),
        (
            {"data": base64.b64encode(b"7").decode(), "encoding": "BASE64", "observedContentType": "text/csv"},
            "0",
            (7.0,),
        ),
        (
            {
                "data": base64.b64encode(b"[8]").decode(),
                "encoding": "BASE64",
                "observedContentType": "application/json",
            },
            "0",
            (8.0,),
        ),
    ],
)
def test_numbers_are_found_in_every_encoding(part: dict[str, Any], attribute: str, expected: tuple[float, ...]) -> None:
    assert numbers(part, attribute) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "[]",
        "no json",
        '{"eventMetadata": {"eventId": "e"}, "groundTruthData": {"data": "much", "encoding": "CSV"}}',
    ],
)
def test_a_line_that_is_no_ground_truth_is_unreadable(line: str) -> None:
    with pytest.raises(Unreadable):
        ground_truth(line, PLACE)


@pytest.mark.parametrize("attribute", ["score", "5", "a["])
def test_an_attribute_that_finds_no_number_is_unreadable(attribute: str) -> None:
    with pytest.raises(Unreadable):
        prediction(captured('{"other": 1}', encoding="JSON", eventId="e"), attribute, PLACE)


@pytest.fixture
def container(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Analyzes files of `baseline/` under the contract; returns what it wrote, by name."""

    def run(file: str, content: str, **variables: str) -> dict[str, Any]:
        folder = tmp_path / "processing" / "baseline"
        folder.mkdir(parents=True)
        (folder / file).write_text(content)
        stated = {
            "SAGEMAKER_BASE_DIR": str(tmp_path),
            "dataset_source": "/opt/ml/processing/baseline",
            "output_path": "/opt/ml/processing/output",
            "problem_type": "Regression",
        }
        analyze(read_settings(stated | variables))
        return {path.name: json.loads(path.read_text()) for path in (tmp_path / "processing" / "output").iterdir()}

    return run


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("label,prediction\n1,3\n2,4\n", {"csv": {"header": True}}),
        ('{"label": 1, "prediction": 3}\n{"label": 2, "prediction": 4}\n', {"json": {"lines": True}}),
    ],
)
def test_a_baseline_job_suggests_constraints(
    container: Callable[..., dict[str, Any]], content: str, form: dict[str, Any]
) -> None:
    found = container(
        "a", content, dataset_format=json.dumps(form), inference_attribute="prediction", ground_truth_attribute="label"
    )
    assert set(found) == {"statistics.json", "constraints.json"}
    assert found["statistics.json"]["regression_metrics"]["rmse"] == {"value": 2.0, "standard_deviation": "NaN"}
    assert found["constraints.json"]["regression_constraints"]["r2"]["comparison_operator"] == "LessThanThreshold"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"dataset_format": '{"parquet": {}}'}, "dataset_format must be one of"),
        ({"dataset_format": "csv"}, "dataset_format is not a JSON object"),
        ({"problem_type": "BinaryClassification"}, "only Regression is"),
        ({"dataset_format": '{"csv": {"header": true}}', "inference_attribute": "nothing"}, "without a number"),
        ({"dataset_format": '{"sagemakerCaptureJson": {}}'}, "ground_truth_source is missing"),
        ({"start_time": "soon", "dataset_format": "{}"}, "start_time is no time"),
    ],
)
def test_what_can_not_be_analyzed_fails_with_its_reason(
    container: Callable[..., dict[str, Any]], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(AnalysisFailed, match=said):
        container("a", "label,prediction\n1,3\n", **variables)


def test_only_what_was_predicted_in_the_window_counts(tmp_path: Path) -> None:
    times = {"before": "00:59:59Z", "first": "01:00:00Z", "last": "01:59:59Z", "after": "02:00:00Z"}
    lines = [captured("1", eventId=event, inferenceTime=f"2026-01-01T{time}") for event, time in times.items()]
    lines += [captured("1", eventId="timeless"), "no json"]
    labels = [
        json.dumps({"groundTruthData": {"data": "3", "encoding": "CSV"}, "eventMetadata": {"eventId": event}})
        for event in [*times, "timeless", "unknown"]
    ]
    for folder, content in (("captured", lines), ("truth", labels)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text("\n".join(content))
    settings = read_settings(
        {
            "dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointOutput"]}}',
            "dataset_source": str(tmp_path / "captured"),
            "ground_truth_source": str(tmp_path / "truth"),
            "output_path": str(tmp_path / "output"),
            "start_time": "2026-01-01T01:00:00Z",
            "end_time": "2026-01-01T02:00:00Z",
        }
    )

    assert analyze(settings) == "Completed: Job completed successfully with no violations."

    statistics = json.loads((tmp_path / "output" / "statistics.json").read_text())
    assert statistics["dataset"]["item_count"] == 3  # first, last and timeless
    assert statistics["regression_metrics"]["rmse"]["value"] == 2.0


def test_metrics_lie_where_aws_puts_them() -> None:
    stated = {
        "dataset_source": "a",
        "dataset_format": "{}",
        "output_path": "b",
        "sagemaker_endpoint_name": "e",
        "sagemaker_monitoring_schedule_name": "s",
        "metric_time": "2026-01-01T00:00:00Z",
    }
    data = metric_data(read_settings(stated), regression_metrics(np.array([1.0]), np.array([2.0])))
    assert {point["MetricName"]: point["Value"] for point in data} == {"mae": 1.0, "mse": 1.0, "rmse": 1.0}
    dimensions = [{"Name": "Endpoint", "Value": "e"}, {"Name": "MonitoringSchedule", "Value": "s"}]
    assert all(point["Dimensions"] == dimensions for point in data)


def captured(data: str, encoding: str = "CSV", **event: str) -> str:
    output = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": data, "encoding": encoding}
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": event, "eventVersion": "0"})
