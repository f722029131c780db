"""The report shows what was measured, also where it is bad."""

from __future__ import annotations

from typing import Any

import pytest

from local.report import html, number, summary

MINUTES = [f"2026-11-21T10:{minute:02d}:00Z" for minute in range(30)]


def a_report(**changes: Any) -> dict[str, Any]:
    flow = dict.fromkeys(
        ("minutes", "listed", "polled", "published", "deduplicated", "archived", "archive_repeats", "windowed",
         "written", "lost", "duplicated", "wrong_minutes", "late", "gaps"), 0
    )  # fmt: skip
    whole = {
        "feed": "bitcoin-fees",
        "title": "Average fee",
        "target": "average_fee",
        "unit": "satoshi/transaction",
        "source": "simulated",
        "speed": 200.0,
        "run_id": "demo-1",
        "window": {"start": MINUTES[0], "end": MINUTES[-1]},
        "flow": flow | {"minutes": 300, "listed": 84123},
        "exact": True,
        "truth": "source's ledger",
        "backtest": {
            "windows": 8,
            "quantiles": ["0.05", "0.5", "0.95"],
            "rows": [
                {"name": "empirical <1 h>", "loss": 0.123456, "quantiles": {"0.05": 0.1, "0.5": None, "0.95": 0.2}}
            ],
        },
        "model": {"algorithm": "empirical", "decision": "DeepAR was rejected", "endpoint": "staging"},
        "history": {"minutes": MINUTES[:10], "values": [1.0] * 10},
        "forecast": {
            "origin": MINUTES[9],
            "minutes": MINUTES[10:],
            "quantiles": {"0.05": [1.0] * 20, "0.5": [2.0] * 20, "0.95": [3.0] * 20},
            "actual": [2.0] * 19 + [None],
            "loss": 0.2,
            "coverage": 1.0,
        },
        "durations": {"start the stack": 12.0},
        "total_seconds": 250.0,
        "loop": None,
    }
    return whole | changes


def test_the_page_has_the_chart_the_backtest_and_the_counts() -> None:
    page = html(a_report())
    assert page.count("<svg") == 1
    assert "84,123" in page
    assert "empirical &lt;1 h&gt;" in page
    assert "0.1235" in page
    assert "not exact" not in page


def a_loop(**changes: Any) -> dict[str, Any]:
    record = {"end": MINUTES[5], "loss": 0.4321, "baseline_loss": None, "threshold": 0.5, "model_version": "1"}
    whole = {
        "closed": True,
        "reason": "",
        "regime": {"fees": 10.0, "volume": 0.5},
        "marks": [
            {"what": "change of regime", "event_time": MINUTES[6], "seconds": 0.0},
            {"what": "alarm", "event_time": MINUTES[8], "seconds": 61.5},
        ],
        "records": [record, record | {"end": MINUTES[7], "loss": None}],
        "decisions": [
            {"event_time": MINUTES[9], "kind": "RetrainingPolicy", "reason": "AlarmStands", "message": "It is <high>."}
        ],
    }
    return whole | changes


def test_the_loop_is_shown_with_what_happened_when_and_why() -> None:
    page = html(a_report(loop=a_loop()))
    assert page.count("<svg") == 2
    assert "61.5" in page
    assert "It is &lt;high&gt;." in page
    assert "fell back below its threshold" in page
    assert "alarm after 62 s" in summary(a_report(loop=a_loop()))


def test_a_loop_that_did_not_close_is_not_hidden() -> None:
    report = a_report(loop=a_loop(closed=False, reason="it waited for the alarm", marks=[], records=[], decisions=[]))
    assert "it waited for the alarm" in html(report)
    assert "DID NOT CLOSE: it waited for the alarm" in summary(report)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = html(a_report())
    assert "<script" not in page
    assert "src=" not in page


def test_the_same_report_gives_the_same_page() -> None:
    assert html(a_report()) == html(a_report())


def test_a_flow_that_is_not_exact_is_not_hidden() -> None:
    report = a_report(exact=False)
    assert "not exact" in html(report)
    assert "THE FLOW IS NOT EXACT" in summary(report)


def test_the_summary_names_the_decision_and_the_losses() -> None:
    said = summary(a_report())
    assert "DeepAR was rejected" in said
    assert "every minute is exact" in said


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (float("nan"), "–"), (84123, "84,123"), (0.123456, "0.1235")])
def test_numbers_are_short_and_absent_ones_a_dash(value: float | None, text: str) -> None:
    assert number(value) == text
