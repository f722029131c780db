"""The account of a simulation: the numbers of report.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from components.algorithms import ROLES
from components.baselines import Forecast
from components.evaluate.scores import finite, score
from local.simulate.alarm import AlarmRule
from local.simulate.build import Contender
from local.simulate.loop import Point, Record, Retraining, Service
from local.simulate.measures import Breach, Episode, episodes, fresh_breach, is_better, share
from local.simulate.simulation import CLOSED, DAILY, NEVER, Simulation
from loopcast.minute import iso_minute

FOLLOWING = timedelta(days=3)
"""The time after a retraining over which its model is compared with the old one."""
FRESH = timedelta(days=1)
"""How long a model is fresh."""
RULES = [AlarmRule(*counts) for counts in ((2, 2), (2, 3), (3, 3), (3, 4), (4, 6), (5, 8))]
"""Alarms that are compared by how many fresh models would break them."""


@dataclass(frozen=True)
class Outcome:
    """What became of a retraining: `better` is whether its best model does better afterwards than the old one, None
    where too little followed; it was useful when that model was promoted as well."""

    retraining: Retraining
    better: bool | None

    @property
    def useful(self) -> bool | None:
        return None if self.better is None else self.better and self.retraining.promoted is not None


class Account:
    """What the policies of `simulation` came to."""

    def __init__(self, simulation: Simulation, records: Mapping[str, Record]) -> None:
        self._simulation, self._records = simulation, records
        self._origins, self._history = simulation.grid.origins, simulation.history
        self._baselines = simulation.baselines()
        self._ask_ahead()

    def _ask_ahead(self) -> None:
        """Asks each model, side by side and once, for what the account needs of it beside what it served."""
        wanted: dict[Contender, set[int]] = defaultdict(set)
        for retraining in (one for record in self._records.values() for one in record.retrainings):
            for model in (retraining.before.contender, retraining.build.winner or retraining.build.challenger):
                if model is not None:
                    wanted[model].update(self._within(retraining.launched, FOLLOWING))
        with ThreadPoolExecutor() as threads:
            asked = [threads.submit(self._simulation.ask, model, sorted(origins)) for model, origins in wanted.items()]
            try:
                for answer in asked:
                    answer.result()
            except BaseException:
                self._simulation.close()  # or else what still runs would be waited for
                raise

    def to_json(self) -> dict[str, Any]:
        """The numbers, without what the run itself took; everything in it can be written as JSON."""
        half = len(self._origins) // 2
        document = {
            **self._losses(self._origins),
            "best_baseline": self.best_baseline,
            "windows": len(self._origins),
            "from": self._moment(self._origins[0]),
            "until": self._moment(self._origins[-1] + self._simulation.horizon),
            **self._decisions(self._records[CLOSED]),
            "halves": [self._losses(self._origins[:half]), self._losses(self._origins[half:])],
            "policies": {name: self._policy(record) for name, record in self._records.items()},
            "candidates": self._candidates(self._records[DAILY]),
            "breaches_by_rule": [self._breaches(rule) for rule in RULES],
        }
        checked: dict[str, Any] = finite(document)
        return checked

    # --- losses ---------------------------------------------------------------------------------------------------
    @cached_property
    def best_baseline(self) -> str:
        losses = {name: self._baseline_loss(name, self._origins) for name in self._baselines}
        return min(losses, key=lambda name: losses[name])

    def _losses(self, origins: Sequence[int]) -> dict[str, Any]:
        """Pooled over the windows at `origins`."""
        return {
            "served_loss": self._served_loss(self._records[CLOSED], origins),
            "baselines": {name: self._baseline_loss(name, origins) for name in self._baselines},
            "never_retrain_loss": self._served_loss(self._records[NEVER], origins),
            "daily_retrain_loss": self._served_loss(self._records[DAILY], origins),
        }

    def _served_loss(self, record: Record, origins: Sequence[int]) -> float:
        return self._simulation.loss(origins, self._served(record, origins))

    def _served(self, record: Record, origins: Sequence[int]) -> list[Forecast]:
        """What was served in the windows at `origins`."""
        models = {point.origin: record.services[point.model].contender for point in record.points}
        return [self._simulation.ask(models[origin], [origin])[0] for origin in origins]

    def _baseline_loss(self, name: str, origins: Sequence[int]) -> float:
        at = {origin: index for index, origin in enumerate(self._origins)}
        return self._simulation.loss(origins, [self._baselines[name][at[origin]] for origin in origins])

    # --- decisions ------------------------------------------------------------------------------------------------
    def _decisions(self, record: Record) -> dict[str, Any]:
        """How good a policy's decisions were."""
        outcomes = self._outcomes(record)
        breaches = [self._fresh_breach(record, service) for service in record.services]
        return {
            "retrainings": len(record.retrainings),
            "promotions": len(record.services) - 1,
            "useful_retrainings": share([one.useful for one in outcomes if one.useful is not None]),
            "gate": _gate(outcomes),
            "fresh_models": len(breaches),
            "fresh_breaches": share([breach is not None and breach.noise for breach in breaches]),
            "fresh_breaches_of_any_cause": share([breach is not None for breach in breaches]),
            **self._alarms(record, outcomes),
        }

    def _outcomes(self, record: Record) -> list[Outcome]:
        return [Outcome(retraining, self._better(retraining)) for retraining in record.retrainings]

    def _better(self, retraining: Retraining) -> bool | None:
        build = retraining.build
        new, following = build.winner or build.challenger, self._within(retraining.launched, FOLLOWING)
        if new is None or len(following) < len(self._within(self._origins[0], FRESH)):
            return None
        ours, theirs = (self._simulation.ask(model, following) for model in (new, retraining.before.contender))
        return is_better(self._simulation.actual(following), ours, theirs)

    def _fresh_breach(self, record: Record, service: Service) -> Breach | None:
        """Whether the model in its first day made the alarm stand by its own windows."""
        day = set(self._within(service.since, FRESH))
        fresh = [point for point in record.points if point.model == service.number and point.origin in day]
        ratios = {point.origin: point.ratio for point in fresh}
        return self._breach(service.contender, ratios, self._simulation.rule)

    def _breach(self, model: Contender, ratios: Mapping[int, float], rule: AlarmRule) -> Breach | None:
        """Whether a model whose first windows have these ratios, by their origins, breaches."""
        origins = list(ratios)
        return fresh_breach(
            list(ratios.values()),
            rule,
            model.baseline_loss,
            lambda windows: self._reference_loss(model, [origins[window] for window in windows]),
        )

    def _breaches(self, rule: AlarmRule) -> dict[str, Any]:
        """What the alarm would have done to the best model of every daily build, had it come into service; in both
        halves."""
        halves: tuple[list[Breach | None], list[Breach | None]] = [], []
        middle = self._origins[len(self._origins) // 2]
        for model, origins in self._fresh_days:
            ratios = {origin: self._model_loss(model, [origin]) / model.threshold for origin in origins}
            halves[origins[0] >= middle].append(self._breach(model, ratios, rule))
        return {
            "alarm": f"{rule.datapoints}/{rule.periods}",
            "models": [len(half) for half in halves],
            "by_noise": [share([one is not None and one.noise for one in half]) for half in halves],
            "of_any_cause": [share([one is not None for one in half]) for half in halves],
        }

    @cached_property
    def _fresh_days(self) -> list[tuple[Contender, list[int]]]:
        """The best model of each daily build, with the windows of the day after it."""
        days = [
            (run.build.winner or run.build.challenger, self._within(run.launched, FRESH))
            for run in self._records[DAILY].retrainings
        ]
        return [(model, day) for model, day in days if model and len(day) == len(self._within(self._origins[0], FRESH))]

    def _model_loss(self, model: Contender, origins: Sequence[int]) -> float:
        return self._simulation.loss(origins, self._simulation.ask(model, origins))

    def _reference_loss(self, model: Contender, origins: Sequence[int]) -> float:
        """The loss of the baseline that was the best in the model's backtest."""
        return self._baseline_loss(model.baseline if model.baseline in self._baselines else self.best_baseline, origins)

    def _alarms(self, record: Record, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The alarm's episodes. One was right when a useful retraining was launched while it stood; the served model
        had drifted when it lost to the best baseline on the windows that the alarm went by at its beginning."""
        found = episodes([point.alarm for point in record.points])
        right = [self._was_right(record, episode, outcomes) for episode in found]
        return {
            "alarms": len(found),
            "alarm_precision": share([flag for flag in right if flag is not None]),
            "alarms_with_drift": share([self._had_drifted(record, episode) for episode in found]),
            "windows_in_alarm": share([point.alarm for point in record.points]),
        }

    def _was_right(self, record: Record, episode: Episode, outcomes: Sequence[Outcome]) -> bool | None:
        """None where it can't be known yet."""
        first, last = (record.points[index].origin for index in (episode.first, episode.last))
        useful = [one.useful for one in outcomes if first <= one.retraining.launched <= last + self._simulation.horizon]
        known = [flag for flag in useful if flag is not None]
        return None if useful and not known else any(known)

    def _had_drifted(self, record: Record, episode: Episode) -> bool:
        ratios = [point.ratio for point in record.points[: episode.first + 1]]
        points = [record.points[index] for index in self._simulation.rule.newest(ratios)]
        origins = [point.origin for point in points]
        return self._served_loss(record, origins) > self._baseline_loss(self.best_baseline, origins)

    # --- what explains it -----------------------------------------------------------------------------------------
    def _policy(self, record: Record) -> dict[str, Any]:
        served = score(self._simulation.actual(self._origins), self._served(record, self._origins))
        return {
            "loss": served.loss,
            "coverage": served.coverage,
            "bias": served.bias,
            **self._decisions(record),
            "models": [self._model(record, service) for service in record.services],
            "runs": [self._run(outcome) for outcome in self._outcomes(record)],
            "points": [self._point(point) for point in record.points],
        }

    def _model(self, record: Record, service: Service) -> dict[str, Any]:
        """A model that served, with its loss in the backtest and in service, beside the best baseline's there."""
        origins = [point.origin for point in record.points if point.model == service.number]
        breach = self._fresh_breach(record, service)
        return {
            "number": service.number,
            "algorithm": service.contender.recipe.algorithm,
            "since": self._moment(service.since),
            "windows": len(origins),
            "threshold": service.contender.threshold,
            "backtest_loss": service.contender.loss,
            "backtest_baseline_loss": service.contender.baseline_loss,
            "loss": self._served_loss(record, origins) if origins else None,
            "baseline_loss": self._baseline_loss(self.best_baseline, origins) if origins else None,
            "fresh_breach": None if breach is None else "noise" if breach.noise else "rise",
        }

    def _run(self, outcome: Outcome) -> dict[str, Any]:
        retraining, build = outcome.retraining, outcome.retraining.build
        return {
            "launched": self._moment(retraining.launched),
            "trigger": retraining.trigger,
            "before": retraining.before.number,
            "promoted": retraining.promoted.number if retraining.promoted else None,
            "better": outcome.better,
            "losses": build.losses,
            "register": build.verdict["register"],
        }

    def _point(self, point: Point) -> dict[str, Any]:
        return {
            "start": self._moment(point.origin),
            "model": point.model,
            "loss": point.loss,
            "baseline_loss": self._baseline_loss(self.best_baseline, [point.origin]),
            "threshold": point.threshold,
            "alarm": point.alarm,
        }

    def _candidates(self, record: Record) -> dict[str, Any]:
        """How each algorithm did in the backtests of all builds of a policy."""
        builds = [retraining.build for retraining in record.retrainings]
        names = sorted({entry["role"] for build in builds for entry in build.verdict["candidates"]})
        return {name: _standing(name, [build.losses for build in builds]) for name in names}

    def _moment(self, step: int) -> str:
        return iso_minute(self._history.moment(step))

    def _within(self, first: int, length: timedelta) -> list[int]:
        """The scored windows that begin at step `first` or within `length` after it."""
        last = first + length // self._history.step
        return [origin for origin in self._origins if first <= origin < last]


def _gate(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How often what the gate let pass, and what it refused, was better than the old model afterwards."""
    kinds = [(one.retraining.promoted is not None, one.better) for one in outcomes if one.better is not None]
    return {
        "promoted_and_better": kinds.count((True, True)),
        "promoted_and_worse": kinds.count((True, False)),
        "refused_and_better": kinds.count((False, True)),
        "refused_and_worse": kinds.count((False, False)),
    }


def _standing(name: str, losses: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """The mean of a candidate's losses in the backtests, beside the best baselines', and in how many it was below."""
    judged = [one for one in losses if one.get(name) is not None]
    ours = [one[name] or 0.0 for one in judged]
    theirs = [min(loss for role, loss in one.items() if role not in ROLES and loss is not None) for one in judged]
    return {
        "backtests": len(judged),
        "mean_loss": sum(ours) / len(ours) if ours else None,
        "mean_best_baseline_loss": sum(theirs) / len(theirs) if theirs else None,
        "below_best_baseline": share([one < other for one, other in zip(ours, theirs, strict=True)]),
    }
