"""The backtest as one HTML page: a table of losses, and each window's fan beside what came."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from components.evaluate.labels import label
from components.history import History
from loopcast.feed import Feed

_BEFORE = 60
_MOST_WINDOWS = 12


def render(feed: Feed, history: History, evaluation: Mapping[str, Any]) -> str:
    """The page; `evaluation` is what `evaluate` returns, with the run's id."""
    environment = Environment(loader=PackageLoader("components.evaluate", "."), autoescape=select_autoescape(["j2"]))
    environment.filters["number"] = _number
    losses = {name: item["loss"] for name, item in evaluation["scores"].items()}
    drawn = evaluation["best_candidate"] or next(iter(evaluation["forecasts"]))
    known = [loss for loss in losses.values() if loss is not None]
    return environment.get_template("report.html.j2").render(
        feed=feed,
        evaluation=evaluation,
        label=label,
        best=min(known, default=None),
        order=sorted(losses, key=lambda name: (losses[name] is None, losses[name] or 0)),
        chart=fan_chart(history, evaluation, drawn),
        drawn=drawn,
        shown=min(_MOST_WINDOWS, len(evaluation["windows"])),
    )


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def fan_chart(history: History, evaluation: Mapping[str, Any], drawn: str) -> str:
    """The newest windows as SVG: the hour before, the quantiles of the model `drawn` and what came."""
    shown = list(zip(evaluation["windows"], evaluation["forecasts"][drawn], strict=True))[-_MOST_WINDOWS:]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.2 * rows), layout="constrained")
    for index, (window, forecast) in enumerate(shown):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw(axes, history, window, forecast)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _draw(axes: Axes, history: History, window: Mapping[str, Any], forecast: Mapping[str, Sequence[float]]) -> None:
    start = datetime.fromisoformat(window["start"])
    moments = [start + timedelta(minutes=minute) for minute in range(len(window["actual"]))]
    before = history.until((start - history.start) // timedelta(minutes=1)).last(_BEFORE)
    levels = sorted(forecast, key=float)
    for low, high in zip(levels[: len(levels) // 2], reversed(levels), strict=False):
        axes.fill_between(_dates(moments), forecast[low], forecast[high], color="#4477aa", alpha=0.22, linewidth=0)
    axes.plot(_dates(moments), forecast["0.5"], color="#4477aa", linewidth=1.4)
    axes.plot(
        _dates([before.moment(index) for index in range(len(before))]), before.target, color="#999999", linewidth=1
    )
    axes.plot(_dates(moments), np.array(window["actual"], dtype=float), color="#222222", linewidth=1.2)
    locator = AutoDateLocator(maxticks=4)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=7)
    axes.set_title(f"{start:%H:%M}", fontsize=8)


def _dates(moments: Sequence[datetime]) -> Any:
    return np.array([moment.replace(tzinfo=None) for moment in moments], dtype="datetime64[s]")
