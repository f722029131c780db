"""Schedules are due when AWS's documentation says, and look at the hours that it says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.monitoring_times import HOUR, NOW, Unusable, Window, cron, duration, hours, window

MOMENTS = st.floats(1.6e9, 2.2e9)
CRONS = st.sampled_from(["cron(0 * ? * * *)", "cron(0 12 ? * * *)", "cron(0 17/12 ? * * *)", "cron(0 00/10 ? * * *)"])


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 * ? * * *)", set(range(24))),
        ("cron(0 12 ? * * *)", {12}),
        ("cron(0 00 ? * * *)", {0}),
        ("cron(0 17/12 ? * * *)", {17, 5}),
        ("cron(0 0/2 ? * * *)", set(range(0, 24, 2))),
        ("cron(0 0/10 ? * * *)", {0, 10, 20}),
        ("cron(0 5/24 ? * * *)", {5}),
    ],
)
def test_the_expressions_that_aws_documents_mean_what_it_says(expression: str, expected: set[int]) -> None:
    times = cron(expression)
    assert times is not None
    assert times.hours == expected


@pytest.mark.parametrize(
    "expression", ["now", "cron(5 * ? * * *)", "cron(0 24 ? * * *)", "rate(1 hour)", "cron(0 0/25 ? * * *)"]
)
def test_other_expressions_are_refused(expression: str) -> None:
    with pytest.raises(Unusable, match="is not supported"):
        cron(expression)


@given(CRONS, MOMENTS)
def test_between_two_slots_there_is_none(expression: str, moment: float) -> None:
    times = cron(expression)
    assert times is not None
    after, before = times.after(moment), times.before(moment)
    assert before < moment < after
    assert times.after(before) in (after, moment)
    for slot in (after, before):
        assert slot % HOUR == 0
        assert datetime.fromtimestamp(slot, UTC).hour in times.hours


@pytest.mark.parametrize(
    ("text", "seconds"), [("-PT1H", -3600), ("PT0H", 0), ("-P8D", -691200), ("-P1DT30M", -88200), ("-PT90S", -90)]
)
def test_offsets_are_durations_of_iso_8601(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["-P7H", "P", "PT", "1H", "-PT1.5H"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match="ISO 8601"):
        duration(text)


def test_an_hourly_execution_looks_at_the_hour_before() -> None:
    slot = at("2021-05-06T23:00")
    looked_at = window({"ScheduleExpression": "cron(0 * ? * * *)"}, {}, slot)
    assert looked_at == Window(slot - HOUR, slot)
    assert hours(looked_at.start, looked_at.end) == ["2021/05/06/22"]


def test_a_daily_execution_looks_at_the_day_before() -> None:
    slot = at("2021-05-06T12:00")
    assert window({"ScheduleExpression": "cron(0 12 ? * * *)"}, {}, slot) == Window(slot - 24 * HOUR, slot)


def test_offsets_for_late_labels_shift_the_window_as_in_the_documentation() -> None:
    offsets = {"StartTimeOffset": "-P8D", "EndTimeOffset": "-P1D"}
    looked_at = window({"ScheduleExpression": "cron(0 * ? * * *)"}, offsets, at("2020-01-09T13:00"))
    assert looked_at == Window(at("2020-01-01T13:00"), at("2020-01-08T13:00"))


def test_now_looks_at_the_hours_that_its_window_touches() -> None:
    schedule = {"ScheduleExpression": NOW, "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "PT0S"}
    looked_at = window(schedule, {}, at("2026-01-01T00:20"))
    assert hours(looked_at.start, looked_at.end) == ["2025/12/31/23", "2026/01/01/00"]


@pytest.mark.parametrize(
    "times",
    [{}, {"DataAnalysisStartTime": "-PT1H"}, {"DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT1H"}],
)
def test_now_needs_a_window(times: dict[str, str]) -> None:
    with pytest.raises(Unusable):
        window({"ScheduleExpression": NOW, **times}, {}, 0)


@given(MOMENTS, st.floats(0.001, 1e6))
def test_every_moment_of_a_window_lies_in_one_of_its_hours(start: float, length: float) -> None:
    folders = hours(start, start + length)
    for moment in (start, start + length / 2, start + length - 0.001):
        assert f"{datetime.fromtimestamp(moment, UTC):%Y/%m/%d/%H}" in folders
    assert len(set(folders)) == len(folders)
    assert len(folders) <= length / HOUR + 2
