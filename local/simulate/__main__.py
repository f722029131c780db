"""Simulates the closed loop over a recording of weeks: `make simulate RECORDING=FILE`.

The operator's decision, the build's steps, the gate and the threshold are the product's own, the models are really
trained and asked by the programs behind their images, and event time jumps from window to window. Beside the closed
loop it plays "retrain daily" and "never retrain", with the same candidates and the same gate.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import FrameType

from components.algorithms import CANDIDATES
from components.gate.gate import SIGNIFICANCE
from components.history import History
from components.run import Refused
from components.write_threshold.threshold import RULE, Rule
from local.simulate.account import Account
from local.simulate.alarm import AlarmRule
from local.simulate.build import Plan
from local.simulate.containers import Containers, ProgramFailed
from local.simulate.defaults import alarm_rule, retraining_policy
from local.simulate.models import Models
from local.simulate.page import page, summary
from local.simulate.progress import Progress
from local.simulate.recording import read_history
from local.simulate.simulation import EVERY, Simulation, grid, policies
from local.source.recordings import BadRecording
from loopcast.feed import Feed, FeedError, load_feed
from operators.durations import parse_duration
from operators.policies import PolicyError
from operators.retraining_spec import RetrainingSpec, Schedule, Triggers

QUANTILES = [0.05, 0.5, 0.95]
WEEKS = {"deepar": {"context_length": "30", "epochs": "60", "mini_batch_size": "64"}}
"""Where days of history are there, DeepAR's hyperparameters are these (docs/forecasters.md)."""


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.recording is None:
        raise SystemExit(
            "Say which recording: make simulate RECORDING=FILE, a parquet file of weeks of five-minute mempool levels."
        )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        document = simulate(arguments)
    except (BadRecording, FeedError, PolicyError, Refused, ProgramFailed, LookupError) as error:
        raise SystemExit(f"simulate: {error}") from error
    except KeyboardInterrupt:
        print("\nsimulate: stopped; nothing was left running", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"\n{summary(document)}\nreport: {arguments.output / 'report.html'}")


def simulate(arguments: argparse.Namespace) -> dict[str, object]:
    """Runs the simulation and leaves its report in the output folder."""
    feed = _feed(arguments.feed)
    history = _first_days(read_history(arguments.recording), arguments.days)
    plan, rule, spec = _plan(arguments, history), arguments.alarm or alarm_rule(), _policy(arguments, feed)
    windows = grid(history, feed.forecast.steps, timedelta(days=arguments.warm_up))
    progress = Progress(history, len(windows.origins))
    with _containers() as containers:
        models = Models(feed, history, containers, arguments.workers, arguments.cache)
        simulation = Simulation(feed, history, models, plan, rule, windows)
        records = simulation.run(policies(spec), progress)
        document = Account(simulation, records).to_json()
    document |= {"settings": _settings(arguments, plan, rule, spec), **progress.spent(models.trainings)}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "report.json").write_text(json.dumps(document, indent=1))
    (arguments.output / "report.html").write_text(page(document))
    return document


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--recording", type=Path, metavar="FILE", help="a parquet file of five-minute mempool levels")
    add("--output", type=Path, default=Path(".loopcast/simulate"), metavar="DIR", help="for the report (%(default)s)")
    add("--feed", type=Path, default=Path("feeds/bitcoin-fees.yaml"), metavar="FILE", help="(%(default)s)")
    add("--days", type=int, metavar="N", help="use the first N days of the recording only")
    add("--warm-up", type=float, default=10, metavar="DAYS", help="what the first model is made of (%(default)s)")
    add("--lookback", type=float, default=14, metavar="DAYS", help="the most that a build reads (%(default)s)")
    add("--windows", type=int, default=0, metavar="N", help="held-out windows of a build, 3 hours apart (as the build)")
    add("--candidates", type=_names, default=CANDIDATES, metavar="A,B", help=f"({','.join(CANDIDATES)})")
    add("--alarm", type=_alarm, metavar="M/N", help="datapoints to alarm (the manifest's)")
    add("--cooldown", type=_duration, metavar="TIME", help="between retrainings (the policy's)")
    add("--every", type=_duration, metavar="TIME", help="retrain so often as well, for example 7d (the policy's)")
    add("--alarm-only", action="store_true", help="retrain on the alarm alone")
    add("--significance", type=float, default=SIGNIFICANCE, metavar="P", help="of a promotion (%(default)s)")
    add("--threshold", type=_setting, action="append", default=[], metavar="NAME=X", help=f"of {RULE}")
    add("--hyperparameter", type=_setting, action="append", default=[], metavar="ALGORITHM.NAME=X", help="as in SSM")
    add("--seed", type=int, default=0, metavar="N", help="of every training (%(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="programs at a time (%(default)s)")
    add("--cache", type=Path, metavar="DIR", help="keep forecasts here, and train nothing whose forecasts are here")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _alarm(text: str) -> AlarmRule:
    datapoints, _, periods = text.partition("/")
    return AlarmRule(int(datapoints), int(periods))


def _duration(text: str) -> timedelta:
    return parse_duration(text)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(text)
    return name, value


def _feed(path: Path) -> Feed:
    """The feed at the quantiles that the simulation is scored at."""
    feed = load_feed(path)
    return feed.model_copy(update={"forecast": feed.forecast.model_copy(update={"quantiles": QUANTILES})})


def _policy(arguments: argparse.Namespace, feed: Feed) -> RetrainingSpec:
    """The feed's own policy, with what the command line changes."""
    spec = retraining_policy(feed)
    schedule = Schedule(every=arguments.every) if arguments.every else spec.triggers.schedule
    triggers = Triggers(alarms=spec.triggers.alarms, schedule=None if arguments.alarm_only else schedule)
    return spec.model_copy(update={"triggers": triggers, "cooldown": arguments.cooldown or spec.cooldown})


def _first_days(history: History, days: int | None) -> History:
    return history if days is None else history.until(history.steps(24 * days))


def _plan(arguments: argparse.Namespace, history: History) -> Plan:
    hyperparameters = defaultdict(dict, {name: dict(given) for name, given in WEEKS.items()})
    for algorithm in arguments.candidates:
        hyperparameters[algorithm]["seed"] = str(arguments.seed)
    for name, value in arguments.hyperparameter:
        algorithm, _, parameter = name.partition(".")
        hyperparameters[algorithm][parameter] = value
    return Plan(
        candidates=arguments.candidates,
        lookback=history.steps(24 * arguments.lookback),
        windows=arguments.windows,
        stride=EVERY // history.step,
        hyperparameters=hyperparameters,
        significance=arguments.significance,
        rule=_rule(arguments.threshold),
    )


def _rule(settings: list[tuple[str, str]]) -> Rule:
    try:
        return Rule(**{name: float(value) for name, value in settings})
    except (TypeError, ValueError) as error:
        raise SystemExit(f"simulate: --threshold takes the constants of {RULE}: {error}") from None


def _settings(arguments: argparse.Namespace, plan: Plan, rule: AlarmRule, spec: RetrainingSpec) -> dict[str, object]:
    """What the report says of how it was made."""
    return {
        "recording": arguments.recording.name,
        "days": arguments.days,
        "warm_up_days": arguments.warm_up,
        "lookback_days": arguments.lookback,
        "backtest_windows": plan.windows,
        "candidates": list(plan.candidates),
        "alarm": f"{rule.datapoints}/{rule.periods}",
        "policy": spec.model_dump(mode="json", include={"triggers", "cooldown"}, exclude_none=True),
        "significance": plan.significance,
        "threshold": asdict(plan.rule),
        "hyperparameters": {name: dict(given) for name, given in plan.hyperparameters.items()},
        "quantiles": QUANTILES,
        "seed": arguments.seed,
    }


@contextmanager
def _containers() -> Iterator[Containers]:
    """Programs in a temporary folder; none of them is left running, and nothing of the folder."""
    with tempfile.TemporaryDirectory(prefix="loopcast-simulate-") as folder:
        containers = Containers(Path(folder))
        try:
            yield containers
        finally:
            containers.close()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
