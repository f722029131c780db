"""The demo's report: one HTML page without scripts, and the lines that end up on the terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

_INK, _BAND, _PAST, _TRUTH = "#1f3a5f", "#4a7fb5", "#8a93a0", "#c0392b"
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


def html(report: Mapping[str, Any]) -> str:
    """The whole page."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    chart = fan_chart(report) if "forecast" in report else ""
    return environment.get_template("report.html.j2").render(report=report, chart=chart, flow_words=_FLOW_WORDS)


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
        f"done in {report['total_seconds']:.0f} s",
    ]
    return "\n".join(lines)


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
