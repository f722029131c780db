"""The simulation's report: one HTML page without scripts, and the lines that end up on the terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from local.simulate.simulation import CLOSED, DAILY, NEVER

POLICIES = {CLOSED: "closed loop", DAILY: "retrain daily", NEVER: "never retrain"}
_SERVED, _BASELINE, _NEVER, _ALARM, _PROMOTION = "#1f3a5f", "#c98a1b", "#9aa5b1", "#c0392b", "#1e7b4c"
_SMOOTHED = 8
"""Windows of a day: single ones are too restless to be seen."""


def page(report: Mapping[str, Any]) -> str:
    """The whole page; `report` is the content of report.json."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": _number, "percent": _percent, "day": _day}
    template = environment.get_template("report.html.j2")
    return template.render(report=report, chart=chart(report), policies=POLICIES, best=best_loss(report))


def best_loss(report: Mapping[str, Any]) -> float:
    """The best baseline's loss over all windows."""
    return float(report["baselines"][report["best_baseline"]])


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for the terminal."""
    best = best_loss(report)
    lines = [
        f"{report['windows']} windows from {_day(report['from'])} to {_day(report['until'])}",
        f"{'closed loop':<24} loss {report['served_loss']:.4f}, {report['served_loss'] / best - 1:+.1%} to the best",
        f"{'retrain daily':<24} loss {report['daily_retrain_loss']:.4f}",
        f"{'never retrain':<24} loss {report['never_retrain_loss']:.4f}",
        *(f"{name:<24} loss {loss:.4f}" for name, loss in report["baselines"].items()),
        f"retrainings {report['retrainings']}, promotions {report['promotions']}, useful retrainings "
        f"{_percent(report['useful_retrainings'])}; alarms {report['alarms']}, precision "
        f"{_percent(report['alarm_precision'])}",
        f"fresh models {report['fresh_models']}, breached within a day: by noise {_percent(report['fresh_breaches'])}, "
        f"at all {_percent(report['fresh_breaches_of_any_cause'])}",
        f"done in {report['seconds']:.0f} s",
    ]
    return "\n".join(lines)


def chart(report: Mapping[str, Any]) -> str:
    """Loss over event time, a day's mean, served beside the best baseline, with alarms, retrainings and promotions."""
    closed, never = (report["policies"][name] for name in (CLOSED, NEVER))
    times = [_moment(point["start"]) for point in closed["points"]]
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    axes: Any = figure.subplots()
    axes.plot(times, _smoothed(never["points"], "loss"), color=_NEVER, lw=1.2, label="never retrain")
    axes.plot(times, _smoothed(closed["points"], "baseline_loss"), color=_BASELINE, lw=1.4, label="best baseline")
    axes.plot(times, _smoothed(closed["points"], "loss"), color=_SERVED, lw=1.6, label="closed loop")
    axes.plot(
        times, [point["threshold"] for point in closed["points"]], color=_SERVED, lw=0.8, ls=":", label="threshold"
    )
    _mark(axes, closed, times)
    axes.set_ylabel("mean weighted quantile loss, a day's mean")
    axes.set_ylim(bottom=0)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
    return _svg(figure)


def _mark(axes: Any, policy: Mapping[str, Any], times: Sequence[datetime]) -> None:
    """Alarms as bands, retrainings as ticks at the foot, promotions as lines with the algorithm's name."""
    alarm = [point["alarm"] for point in policy["points"]]
    foot = axes.get_xaxis_transform()
    axes.fill_between(
        times, 0, 1, where=alarm, step="post", color=_ALARM, alpha=0.15, lw=0, transform=foot, label="alarm"
    )
    launched = [_moment(run["launched"]) for run in policy["runs"]]
    axes.plot(launched, [0.015] * len(launched), "^", color=_ALARM, ms=5, transform=foot, label="retraining")
    for model in policy["models"]:
        since = _moment(model["since"])
        axes.axvline(since, color=_PROMOTION, lw=0.9, ls="--")
        axes.text(
            since + timedelta(hours=3),
            0.86,
            model["algorithm"],
            rotation=90,
            fontsize=7,
            color=_PROMOTION,
            transform=foot,
            va="top",
        )


def _smoothed(points: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """The mean over a day of windows; one of which nothing came is left out."""
    values = np.array([np.nan if point[name] is None else point[name] for point in points])
    return [float(np.nanmean(values[max(0, end - _SMOOTHED) : end])) for end in range(1, len(values) + 1)]


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loopcast"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _day(text: str) -> str:
    return f"{_moment(text):%d %b %H:%M}"
