"""What a monitor run means: which windows, which minutes, which numbers; pure rules."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from components.columns import Columns
from components.history import History
from components.monitor.cloudwatch import metric_data
from components.monitor.collected import Closed
from components.monitor.drift import drifts, population_stability_index
from components.monitor.measures import between, buckets, data_quality, missing_share, quality
from components.monitor.records import Record, Window, files
from components.monitor.served import Served
from components.monitor.windows import REACH, closed_windows, first_moment, serves_since
from components.monitor_constraints.check import offsets
from components.monitor_constraints.images import analyzer_image
from components.monitor_measure.measure import of_windows
from components.run import Run
from components.training_baseline import training_baseline
from loopcast.names import Names
from tests.components.examples import feed

HALF_HOUR = timedelta(minutes=30)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NAMES = Names("parcels", "000000000000")

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
horizons = st.integers(1, 24 * 60).map(lambda minutes: timedelta(minutes=minutes))


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_windows_lie_on_a_fixed_grid_whenever_a_run_comes() -> None:
    assert closed_windows(at(0), at(61), HALF_HOUR) == [at(0), at(30)]
    assert closed_windows(at(0), at(59), HALF_HOUR) == [at(0)]
    assert closed_windows(at(1), at(59), HALF_HOUR) == []
    assert closed_windows(at(5), at(5), HALF_HOUR) == []


@given(first=moments, parts=st.lists(st.integers(0, 3000), max_size=6), horizon=horizons)
def test_runs_at_any_times_judge_every_window_once(first: datetime, parts: list[int], horizon: timedelta) -> None:
    ends = [first + timedelta(minutes=sum(parts[: index + 1])) for index in range(len(parts))]
    judged, since = [], first
    for end in ends:
        starts = closed_windows(since, end, horizon)
        judged += starts
        since = starts[-1] + horizon if starts else since
    assert judged == closed_windows(first, ends[-1] if ends else first, horizon)
    assert all(later - earlier == horizon for earlier, later in pairwise(judged))


def test_a_model_is_judged_from_its_coming_into_service_on_and_never_twice() -> None:
    assert first_moment(None, at(5), at(60)) == at(5)
    assert first_moment(at(30), at(5), at(60)) == at(30)
    assert first_moment(at(30), at(40), at(60)) == at(40)
    assert first_moment(at(-5000), at(-6000), at(60)) == at(60) - REACH


def test_what_a_model_was_trained_on_was_not_served_by_it() -> None:
    assert serves_since(at(60), 600, 1.0, None) == at(50)
    assert serves_since(at(60), 60, 10.0, None) == at(50)
    assert serves_since(at(60), 600, 60.0, at(20)) == at(20)
    assert serves_since(at(60), 1e9, 1e9, None) == at(60) - REACH


def window(start: datetime, actual: list[float], low: float, middle: float, high: float) -> Window:
    forecast = {0.1: low, 0.5: middle, 0.9: high}
    return Window(start, np.array(actual), {q: np.full(len(actual), value) for q, value in forecast.items()})


def test_a_minutes_forecast_and_ground_truth_bear_one_id_under_the_hour() -> None:
    record = Record(NAMES, "staging", "AllTraffic", "3")
    made = files(record, window(at(50), [7.0, float("nan"), 9.0], 1, 2, 3))
    (captured, predictions), (truth, truths) = made.items()
    bucket = "s3://loopcast-parcels-000000000000"
    assert captured == f"{bucket}/capture/loopcast-parcels-staging/AllTraffic/2026/11/20/12/3-20261120T1250Z.jsonl"
    assert truth == (
        f"{bucket}/monitoring/staging/ground-truth/3/loopcast-parcels-staging/2026/11/20/12/3-20261120T1250Z.jsonl"
    )
    assert [json.loads(line) for line in truths.splitlines()] == [
        {
            "groundTruthData": {"data": value, "encoding": "CSV"},
            "eventMetadata": {"eventId": f"loopcast-parcels-staging-3-20261120T{minute}Z"},
            "eventVersion": "0",
        }
        for value, minute in (("7.0", "1250"), ("9.0", "1252"))
    ]
    asked = [json.loads(line) for line in predictions.splitlines()]
    assert [line["eventMetadata"]["eventId"][-5:] for line in asked] == ["1250Z", "1252Z"]
    assert {line["eventMetadata"]["inferenceTime"] for line in asked} == {"2026-11-20T12:50:00Z"}
    assert {line["captureData"]["endpointOutput"]["data"] for line in asked} == {"2.0"}
    assert files(record, window(at(50), [7.0, float("nan"), 9.0], 1, 2, 3)) == made


def test_the_built_in_job_looks_at_the_runs_windows_and_no_other() -> None:
    now = at(200) + timedelta(seconds=20)
    assert offsets(at(0), at(60), HALF_HOUR, now) == ("-PT12920S", "-PT9320S")  # 11:45 to 12:45
    assert offsets(at(170), at(200), HALF_HOUR, at(190))[1] == "-PT300S"


shares = st.lists(st.integers(0, 50), min_size=10, max_size=10).filter(any).map(lambda c: np.array(c) / sum(c))


@given(shares)
def test_the_same_shares_have_not_drifted(found: np.ndarray) -> None:
    assert population_stability_index(found, found) == 0


@given(shares, shares)
def test_drift_is_finite_symmetric_and_not_negative_also_with_empty_bins(one: np.ndarray, other: np.ndarray) -> None:
    index = population_stability_index(one, other)
    assert np.isfinite(index)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(other, one))


def columns(**values: list[float]) -> Columns:
    return Columns(NOON, {name: np.array(column, dtype=float) for name, column in values.items()})


def test_drift_tells_a_metric_that_moved_from_one_that_did_not() -> None:
    random = np.random.default_rng(1)
    before = Columns(NOON, {"weight": random.normal(100, 10, 3000), "count": random.normal(50, 5, 3000)})
    baseline = training_baseline(before)
    day = {"weight": random.normal(130, 10, 1440), "count": random.normal(50, 5, 1440), "new": np.ones(1440)}
    found = drifts(baseline, day)
    assert set(found) == {"weight", "count"}
    assert found["weight"] > 1
    assert found["count"] < 0.05
    told = data_quality("count", baseline, Columns(NOON, day), Columns(NOON, day))
    assert told["drift_of"] == "weight"
    assert told["volume"] == pytest.approx(1, abs=0.02)


def test_volume_and_missing_minutes_are_told_apart() -> None:
    nan = float("nan")
    baseline = training_baseline(columns(count=[10, 10, 10, 10], weight=[1, 2, 3, 4]))
    since = columns(count=[5, nan, 5, nan], weight=[1, nan, nan, nan])
    assert missing_share(since) == 0.5
    assert data_quality("count", baseline, since, since)["volume"] == 0.5
    never = columns(count=[nan], weight=[nan])
    assert data_quality("count", baseline, never, never) == {"volume": None, "drift": None, "drift_of": None}


def test_the_horizon_is_cut_into_tens_of_minutes() -> None:
    assert buckets(30) == {"1-10": (0, 10), "11-20": (10, 20), "21-30": (20, 30)}
    assert buckets(15) == {"1-10": (0, 10), "11-15": (10, 15)}


def closed(actual: list[float], number: int = 1) -> Closed:
    """A window of ten minutes after ten of 10 g, forecast at 10 g between 5 g and 15 g."""
    minutes = columns(parcel_count=[4.0] * 20, average_weight=[10.0] * 10 + actual)
    asked = [window(at(10), actual, 5, 10, 15)]
    return Closed(Served("c", "AllTraffic", "m", "", "m"), None, at(10), at(20), number, asked, minutes)


def test_a_forecast_that_misses_has_the_exact_loss_and_each_bucket_its_own() -> None:
    parts = closed([20.0] * 10)
    found = quality(feed(), parts.asked, parts.minutes.history("average_weight"))
    # 2 * (0.1 * 15 + 0.5 * 10 + 0.9 * 5) * 10 / 200 / 3
    assert found["loss"] == pytest.approx(11 / 30)
    assert (found["coverage"], found["bias"], found["rmse"]) == (0, -0.5, 10)
    assert (found["baseline"], found["baseline_loss"]) == ("persistence", pytest.approx(0.5))
    assert found["horizon"] == {"1-10": {key: found[key] for key in ("loss", "coverage", "bias", "rmse")}}


def test_the_best_baseline_is_that_of_the_same_windows() -> None:
    calm = np.tile([8.0, 12.0], 60)
    history = History(NOON, np.concatenate([calm, np.full(10, 8.0)]))
    found = quality(feed(), [window(at(120), [8.0] * 10, 8, 8, 8)], history)
    assert (found["loss"], found["baseline"]) == (0, "empirical_1h")


def test_metrics_are_what_cloudwatch_takes_and_leave_out_what_is_not_known() -> None:
    run = Run(feed(), NAMES, "r1")
    record = of_windows(run, "staging", closed([20.0] * 10), None, 0.5)
    data = metric_data(record, NOON)
    model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"))
    request = {"Namespace": "Loopcast", "MetricData": data}
    report = ParamValidator().validate(request, model.operation_model("PutMetricData").input_shape)
    assert not report.has_errors(), report.generate_report()
    by_stage = {item["MetricName"]: item["Value"] for item in data if len(item["Dimensions"]) == 2}
    assert by_stage == {
        "QuantileLoss": pytest.approx(11 / 30),
        "QuantileLossRatio": pytest.approx(11 / 15),
        "BaselineLoss": pytest.approx(0.5),
        "Coverage": 0,
        "Bias": -0.5,
        "MissingMinutes": 0,
    }
    further = {(item["MetricName"], item["Dimensions"][2]["Name"]) for item in data if len(item["Dimensions"]) == 3}
    names = ("QuantileLoss", "Coverage", "Bias")
    assert further == {(name, kind) for name in names for kind in ("ModelVersion", "HorizonBucket")}
    assert {item["StorageResolution"] for item in data} == {1}


def test_windows_of_which_no_minute_came_have_no_loss_but_are_missing() -> None:
    nan = float("nan")
    empty = Closed(
        Served("c", "AllTraffic", "m", "", "m"),
        None,
        at(10),
        at(20),
        1,
        [],
        columns(parcel_count=[4.0] * 10 + [nan] * 11, average_weight=[10.0] * 10 + [nan] * 10 + [10.0]),
    )
    record = of_windows(Run(feed(), NAMES, "r1"), "staging", empty, None, 0.5)
    assert (record["loss"], record["ratio"], record["missing"]) == (None, None, 1)
    assert [item["MetricName"] for item in metric_data(record, NOON)] == ["MissingMinutes"]
    json.dumps(record, allow_nan=False)


def test_zero_minutes_have_no_loss_instead_of_an_error() -> None:
    record = of_windows(Run(feed(), NAMES, "r1"), "staging", closed([0.0] * 10), None, 0.5)
    assert (record["loss"], record["ratio"], record["baseline_loss"]) == (None, None, None)
    json.dumps(record, allow_nan=False)


def test_what_was_collected_is_handed_on_whole() -> None:
    before = closed([20.0] * 9 + [float("nan")])
    after = Closed.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False)))
    assert after.to_json() == before.to_json()
    np.testing.assert_array_equal(after.asked[0].actual, before.asked[0].actual)


def test_minutes_are_cut_where_they_lie() -> None:
    parts = between(columns(count=[1, 2, 3, 4]), 1, 3)
    assert (parts.start, parts.values["count"].tolist()) == (at(1), [2, 3])
    assert len(between(columns(count=[1, 2, 3, 4]), -5, 4)) == 4


def test_the_analyzers_image_is_that_of_the_region() -> None:
    assert analyzer_image("eu-west-1").startswith("468650794304.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-model-")
    with pytest.raises(ValueError, match="mars"):
        analyzer_image("mars")
