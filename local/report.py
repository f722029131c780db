"""The demo's report: one HTML page without scripts, and the lines that end up on the terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

_INK, _BAND, _PAST, _TRUTH = "#1f3a5f", "#4a7fb5", "#8a93a0", "#c0392b"
_LOSSES = (
    ("loss", "#1f3a5f", "-o", "model in service"),
    ("baseline_loss", "#8a93a0", "--", "best baseline"),
    ("threshold", "#c0392b", "-", "threshold of the alarm"),
)
"""What the chart of losses shows: a field of the monitor's records, its colour, its line, and what it is."""
_FLOW_WORDS = {
    "minutes": "closed whole minutes",
    "listed": "transactions that the source listed",
    "polled": "received by the poller",
    "published": "put on the bus",
    "deduplicated": "put on the stream, each once",
    "archived": "distinct transactions in the archive",
    "archive_repeats": "further copies in the archive",
    "windowed": "counted in Flink's windows",
    "written": "counted in the offline store's minutes",
    "lost": "lost",
    "duplicated": "counted twice in minutes",
    "wrong_minutes": "minutes that differ from the ledger in any number",
    "late": "came after their minute was closed (repaired from the archive)",
    "gaps": "gaps between answers of the source",
}


def fan_chart(report: Mapping[str, Any]) -> str:
    """The forecast's quantiles over time with the minutes before and what then happened, as SVG."""
    forecast, history = report["forecast"], report["history"]
    times = [datetime.fromisoformat(minute) for minute in forecast["minutes"]]
    past = [datetime.fromisoformat(minute) for minute in history["minutes"]]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes: Any = figure.subplots()
    axes.plot(past, history["values"], color=_PAST, lw=1, label="before")
    _draw_bands(axes, times, {float(level): values for level, values in forecast["quantiles"].items()})
    actual = [float("nan") if value is None else value for value in forecast["actual"]]
    axes.plot(times, actual, color=_TRUTH, lw=1.5, marker=".", ms=4, label="what came")
    axes.set_ylabel(f"{report['target']} ({report['unit']})")
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=times[0].tzinfo))  # type: ignore[no-untyped-call]
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=4, loc="upper left", fontsize=8)
    return _svg(figure)


def loss_chart(report: Mapping[str, Any]) -> str:
    """The loss of the model in service over event time, beside its threshold and the best baseline, with what happened
    marked, as SVG."""
    loop = report["loop"]
    records = [record for record in loop["records"] if record["loss"] is not None]
    times = [datetime.fromisoformat(record["end"]) for record in records]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes: Any = figure.subplots()
    for key, colour, style, words in _LOSSES:
        axes.plot(times, [_or_nan(record[key]) for record in records], style, color=colour, lw=1.5, ms=5, label=words)
    for number, mark in enumerate(loop["marks"], 1):
        moment = datetime.fromisoformat(mark["event_time"])
        axes.axvline(moment, color=_PAST, lw=1, ls=":")
        axes.annotate(
            str(number), (moment, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9
        )
    axes.set_ylabel("mean weighted quantile loss")
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def html(report: Mapping[str, Any]) -> str:
    """The whole page."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    charts = {"fan": fan_chart(report), "losses": loss_chart(report) if report["loop"] else ""}
    return environment.get_template("report.html.j2").render(report=report, charts=charts, flow_words=_FLOW_WORDS)


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for the terminal."""
    flow, forecast, model = report["flow"], report["forecast"], report["model"]
    verdict = "every minute is exact" if report["exact"] else "THE FLOW IS NOT EXACT"
    lines = [
        f"{flow['listed']:,} transactions in {flow['minutes']} minutes: {verdict} "
        f"(lost {flow['lost']}, counted twice {flow['duplicated']}, wrong minutes {flow['wrong_minutes']}, "
        f"late {flow['late']}, gaps {flow['gaps']})",
        *(f"backtest: {row['name']:<22} loss {number(row['loss'])}" for row in report["backtest"]["rows"]),
        f"model: {model['decision']}",
        f"forecast of {report['target']} for {len(forecast['minutes'])} minutes from {forecast['minutes'][0]}: loss "
        f"{number(forecast['loss'])}, {number(forecast['coverage'])} of the minutes within the outer quantiles",
        *_loop_lines(report["loop"]),
        f"done in {report['total_seconds']:.0f} s",
    ]
    return "\n".join(lines)


def _loop_lines(loop: Mapping[str, Any] | None) -> list[str]:
    if loop is None:
        return []
    marks = ", ".join(f"{mark['what']} after {mark['seconds']:.0f} s" for mark in loop["marks"])
    verdict = "closed" if loop["closed"] else f"DID NOT CLOSE: {loop['reason']}"
    return [f"the loop {verdict} ({marks})"]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def number(value: float | None) -> str:
    """Four significant digits, and a dash for what there is not."""
    if value is None or value != value:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _draw_bands(axes: Any, times: list[datetime], quantiles: dict[float, list[float]]) -> None:
    levels = sorted(quantiles)
    for low, high in zip(levels, reversed(levels), strict=True):
        if low < high:
            label = f"{low:g} to {high:g}"
            axes.fill_between(times, quantiles[low], quantiles[high], color=_BAND, alpha=0.25, lw=0, label=label)
    axes.plot(times, quantiles[0.5], color=_INK, lw=1.5, label="median forecast")


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loopcast"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
