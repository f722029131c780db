"""The main job: from nothing to a forecast beside what then happened.

It starts the whole stack, lets hours of event time flow through it at a speed-up, slows the source to real time while
the pipelines train, judge, register and deploy a model, forecasts, and lets what was forecast happen. Then the world
changes, and the stack mends its model by itself. In the end it checks every minute against the source's ledger, and
leaves a report.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

from components.endpoint import invoke
from components.hold_out.hold_out import shortest_history
from components.read_features.read_features import read_newest
from local import online
from local import report as pages
from local.audit import Audit
from local.control import ReplayedSource
from local.decisions import Operator
from local.flow import Flow
from local.loop import REGIME, ClosedLoop, served_version, version_of
from local.parts import Settings, default_folder
from local.processes import MARK, StackError
from local.source.regime import Regime, parse_regime
from local.stack import (
    SUPERVISOR,
    Stack,
    add_source_arguments,
    folder_of,
    progress,
    running_stack,
    settings_from,
    stop_everything,
)
from local.status import source_of
from loopcast.aws import client
from loopcast.feed import Feed, FeedError
from loopcast.metrics import coverage, mean_weighted_quantile_loss
from loopcast.minute import iso_minute

SPEED = 200.0
HOURS = 5.0
DEPLOY_SECONDS = 120.0
_AHEAD = timedelta(hours=16)
"""Event time begins so long before the hours that are taken in: it must stay behind the wall clock to the end."""


class Demo:
    """One run of the main job. `folder` holds what it leaves; the stack lives in a folder below."""

    def __init__(self, settings: Settings, folder: Path, hours: float, approve: str, regime: Regime) -> None:
        self.settings, self.folder, self.hours, self.approve = settings, folder, hours, approve
        self.regime = regime
        self.feed, self.names = settings.feed, settings.names
        self.stack = Stack(settings)
        self.source = source_of(settings)
        self.operator = Operator(settings.operator_state)
        self.run_id = time.strftime("demo-%Y%m%d-%H%M%S")
        self.durations: dict[str, float] = {}
        self._began = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Runs every stage; returns the report. The caller stops the stack."""
        self.stack.remember()
        self.stack.processes.enter(SUPERVISOR)
        with self._stage("start the stack"):
            self.stack.up(progress)
        threading.Thread(target=self.stack.watch, daemon=True).start()
        with self._stage(f"take in {self.hours:g} hours of events"):
            self._take_in()
        with self._stage("train, backtest and register"):
            build = self._pipeline("build")
        with self._stage("approve"):
            self._approve(build)
        with self._stage("deploy to staging"):
            self._await_release(build)
        with self._stage("forecast"):
            forecast = self._forecast()
        with self._stage("let it happen"):
            self._let_happen(forecast)
        loop = self._close_the_loop()
        self.source.hold()
        with self._stage("check every minute"):
            flow, minutes = self._check()
        self._compare(forecast, minutes)
        return self._report(build, forecast, flow, minutes) | {"loop": loop}

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        progress(f"{name} ...")
        began = time.monotonic()
        yield
        self.durations[name] = round(time.monotonic() - began, 1)
        progress(f"{name}: done in {self.durations[name]:.1f} s")

    # --- events ---------------------------------------------------------------------------------------------
    def _take_in(self) -> None:
        """Until `hours` of closed minutes are readable; then the source goes on at real time."""
        first = self.source.began().replace(second=0, microsecond=0)
        self._await_minute(first + timedelta(hours=self.hours), f"{self.hours:g} hours")
        self.source.set_speed(1.0)

    def _let_happen(self, forecast: dict[str, Any]) -> None:
        self.source.set_speed(self.settings.speed)
        self._await_minute(datetime.fromisoformat(forecast["minutes"][-1]), "what was forecast")

    def _close_the_loop(self) -> dict[str, Any] | None:
        """What the stack does when the world changes; None with SOURCE=live, whose world is not ours to change."""
        if not isinstance(self.source, ReplayedSource):
            return None
        with self._stage("change the world, and watch the stack mend its model"):
            return ClosedLoop(self.settings, self.source, self.operator, self._approve, self.regime).run()

    def _await_minute(self, minute: datetime, what: str) -> None:
        """Until `minute` is readable in the online store; says how far it is every ten seconds."""
        told = time.monotonic()
        while (newest := self._newest_minute()) is None or newest < minute:
            if time.monotonic() - told > 10:
                told = time.monotonic()
                seen = f"{newest:%H:%M}" if newest else "none yet"
                progress(f"  newest minute: {seen}; {what} will be in with {minute:%H:%M}")
            time.sleep(0.5)

    def _newest_minute(self) -> datetime | None:
        return online.newest(
            client("sagemaker-featurestore-runtime"), self.names.feature_group, self.feed.name, self.source.now()
        )

    # --- the model ------------------------------------------------------------------------------------------
    def _pipeline(self, name: str, *arguments: str) -> dict[str, Any]:
        """Runs a pipeline, its progress on this terminal; returns its result."""
        output = self.folder / name
        command = [
            *(sys.executable, "-m", "pipelines.run", name, "--feed", str(self.settings.feed_path)),
            *("--run-id", self.run_id, "--output", str(output), "--poll-interval", "0.5", *arguments),
        ]
        environment = {**os.environ, **self.settings.environment, MARK: str(self.settings.folder.resolve())}
        if subprocess.run(command, env=environment, check=False).returncode:
            raise StackError(
                f"the {name} pipeline failed: its log is above, the logs are in {self.settings.folder / 'log'}"
            )
        return dict(json.loads((output / "result.json").read_text()))

    def _approve(self, build: dict[str, Any]) -> None:
        """Approves the registered model: by itself, or by asking on the terminal."""
        if not build["model_package_arn"]:
            raise StackError(f"no model waits for approval: {build['decision']}")
        if self.approve == "ask" and not _asked(build["decision"]):
            raise StackError("the model was not approved: nothing was deployed")
        client("sagemaker").update_model_package(
            ModelPackageArn=build["model_package_arn"],
            ModelApprovalStatus="Approved",
            ApprovalDescription=f"approved by the demo (APPROVE={self.approve})",
        )

    def _await_release(self, build: dict[str, Any]) -> None:
        """Until the operator has brought the approved model into service."""
        deadline = time.monotonic() + DEPLOY_SECONDS
        version, endpoint = version_of(build), self.names.endpoint("staging")
        while not all([*map(self.operator.over, self.operator.runs("deploy")), served_version(endpoint) == version]):
            if time.monotonic() > deadline:
                raise StackError(
                    f"the operator has not deployed the model in {DEPLOY_SECONDS:.0f} s: "
                    f"its log is {self.settings.folder / 'log' / 'operator.log'}"
                )
            time.sleep(0.5)

    def _forecast(self) -> dict[str, Any]:
        """What staging forecasts for the minutes after the newest one that has closed."""
        history = read_newest(self.feed, self.names)
        prediction = invoke(self.feed, self.names, "staging", history)
        starts = [history.moment(len(history) + step) for step in range(self.feed.forecast.steps)]
        return {
            "origin": iso_minute(history.moment(len(history) - 1)),
            "minutes": [iso_minute(start) for start in starts],
            "quantiles": prediction.quantiles,
        }

    def _check(self) -> tuple[Flow, pd.DataFrame]:
        """Every closed minute against the ledger, which is left beside the report with the minutes."""
        audit = Audit(self.settings, self.source)
        flow = audit.run()
        audit.ledger.to_parquet(self.folder / "ledger.parquet", index=False)
        minutes = audit.written()
        minutes[["minute_start", *self.feed.metrics]].to_parquet(self.folder / "minutes.parquet", index=False)
        return flow, minutes

    # --- the report -----------------------------------------------------------------------------------------
    def _compare(self, forecast: dict[str, Any], minutes: pd.DataFrame) -> None:
        """Adds to `forecast` what then happened, and how well it was forecast."""
        target = minutes.set_index("minute_start")[self.feed.forecast.target]
        actual = target.reindex(forecast["minutes"]).to_numpy(dtype=float)
        quantiles = {float(level): np.asarray(values) for level, values in forecast["quantiles"].items()}
        forecast["actual"] = [None if np.isnan(value) else value for value in actual]
        forecast["loss"] = mean_weighted_quantile_loss(actual, quantiles)
        forecast["coverage"] = coverage(actual, quantiles[min(quantiles)], quantiles[max(quantiles)])

    def _report(
        self, build: dict[str, Any], forecast: dict[str, Any], flow: Flow, minutes: pd.DataFrame
    ) -> dict[str, Any]:
        target = self.feed.forecast.target
        shown = minutes[minutes["minute_start"] < forecast["minutes"][0]].tail(120)
        return {
            "feed": self.feed.name,
            "title": self.feed.title,
            "target": target,
            "unit": self.feed.metrics[target].unit,
            "source": self.settings.source,
            "speed": self.settings.speed,
            "run_id": self.run_id,
            "window": {"start": minutes["minute_start"].min(), "end": minutes["minute_start"].max()},
            "flow": flow.to_json(),
            "exact": flow.exact,
            "truth": "archive" if self.settings.source == "live" else "source's ledger",
            "backtest": build["backtest"],
            "model": build["model"] | {"endpoint": self.names.endpoint("staging")},
            "history": {"minutes": shown["minute_start"].tolist(), "values": shown[target].tolist()},
            "forecast": forecast,
            "durations": self.durations,
            "total_seconds": round(time.monotonic() - self._began, 1),
        }


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Leaves report.json and report.html in `folder`."""
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    (folder / "report.html").write_text(pages.html(report))


def require_hours(feed: Feed, hours: float) -> None:
    """Raises `StackError` when a model can't be trained and judged on so few hours."""
    minutes = shortest_history(feed.forecast.steps)
    if not hours * 60 >= minutes:
        raise StackError(
            f"HOURS={hours:g} is too short: to train and judge a model that looks {feed.forecast.steps} minutes ahead "
            f"takes {minutes} minutes: set HOURS={-(-minutes // 60)} or more"
        )


def _regime(text: str) -> Regime:
    try:
        return parse_regime(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _asked(decision: str) -> bool:
    if not sys.stdin.isatty():
        raise StackError("APPROVE=ask needs a terminal to ask on: use APPROVE=auto")
    return input(f"{decision}\nDeploy it? [y/N] ").strip().lower() in {"y", "yes"}


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    add_source_arguments(parser)
    parser.add_argument("--approve", choices=("auto", "ask"), default="auto", help="who approves the model")
    parser.add_argument("--hours", type=float, default=HOURS, help="hours of event time (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=SPEED, help="event seconds a second (default: %(default)s)")
    parser.add_argument(
        "--regime", type=_regime, default=REGIME, help="how the world changes in the end (default: fees=4,volume=0.5)"
    )
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _run(arguments)
    except (StackError, FeedError) as error:
        raise SystemExit(f"loopcast: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("loopcast: interrupted: everything was stopped") from None


def _run(arguments: argparse.Namespace) -> None:
    running = running_stack()
    if running and running.processes.pid(SUPERVISOR):
        raise StackError("a stack is running: make down stops it, then make demo starts from nothing")
    stop_everything()
    folder = default_folder() / "demo"
    start = datetime.now(UTC) - timedelta(hours=arguments.hours) - _AHEAD  # event time stays behind the wall clock
    options = ("--start", f"{start:%Y-%m-%dT%H:%M:00Z}")
    settings = settings_from(arguments, folder_of("demo"), speed=arguments.speed, source_options=options)
    require_hours(settings.feed, arguments.hours)
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.update(settings.environment)
    demo = Demo(settings, folder, arguments.hours, arguments.approve, arguments.regime)
    try:
        report = demo.run()
    finally:
        with suppress(OSError):  # the terminal may have gone
            progress("stopping the stack")
        demo.stack.down()
    write_report(report, folder)
    print(pages.summary(report))
    print(f"the report is in {folder}: report.html, report.json, ledger.parquet, minutes.parquet")
    if not report["exact"]:
        raise SystemExit("loopcast: the flow is not exact: the report says where")
    if report["loop"] and not report["loop"]["closed"]:
        raise SystemExit(f"loopcast: the loop did not close: {report['loop']['reason']}")


if __name__ == "__main__":
    main()
