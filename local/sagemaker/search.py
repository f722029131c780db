"""Where a tuning job looks next: SageMaker's ranges and strategies over optuna; pure.

A proposal follows from the request and the trials before it alone: a server that was killed has nothing to remember.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from local.sagemaker.registry import Json

optuna.logging.disable_default_handler()
_WIDE = 100
"""With ScalingType Auto, a range whose ends lie further apart than this factor is searched by orders of magnitude."""
_STARTUP_TRIALS = 5
_LOGARITHMIC = "Logarithmic"


class BadSearch(ValueError):
    """A configuration that can't be searched; the message says why."""


@dataclass(frozen=True)
class Trial:
    """A training job of the search: its tuned hyperparameters as text, and the objective; None while it runs, and where
    it failed."""

    parameters: Mapping[str, str]
    value: float | None = None


def propose(config: Json, ranges: Json, past: Sequence[Trial], seed: int) -> dict[str, str] | None:
    """The hyperparameters to try after `past`, as text; None when a grid is used up. Raises `BadSearch`."""
    space = distributions(ranges)
    if config["Strategy"] == "Grid":
        return _next_of_grid(space, len(past))
    study = optuna.create_study(sampler=_sampler(config["Strategy"], seed + len(past)), direction=direction(config))
    for trial in past:
        study.add_trial(_known(space, trial))
    return _as_text(study.ask(space).params)


def direction(config: Json) -> Literal["minimize", "maximize"]:
    return "minimize" if config["HyperParameterTuningJobObjective"]["Type"] == "Minimize" else "maximize"


def distributions(ranges: Json) -> dict[str, BaseDistribution]:
    """The space by the hyperparameters' names. Raises `BadSearch` when a range is empty or a name comes twice."""
    found = [
        *((item["Name"], _integer(item)) for item in ranges.get("IntegerParameterRanges", [])),
        *((item["Name"], _continuous(item)) for item in ranges.get("ContinuousParameterRanges", [])),
        *((item["Name"], _categorical(item)) for item in ranges.get("CategoricalParameterRanges", [])),
    ]
    names = [name for name, _ in found]
    if not names or len(set(names)) < len(names):
        raise BadSearch("Give each tuned hyperparameter one range, and at least one hyperparameter a range.")
    return dict(found)


def _integer(item: Json) -> BaseDistribution:
    low, high, logarithmic = _bounds(item, int)
    return IntDistribution(low, high, log=logarithmic)


def _continuous(item: Json) -> BaseDistribution:
    low, high, logarithmic = _bounds(item, float)
    return FloatDistribution(low, high, log=logarithmic)


def _categorical(item: Json) -> BaseDistribution:
    return CategoricalDistribution(tuple(item["Values"]))


def _bounds(item: Json, kind: Callable[[str], Any]) -> tuple[Any, Any, bool]:
    """The range's ends, and whether it is searched by orders of magnitude."""
    name, scaling = item["Name"], item.get("ScalingType", "Auto")
    try:
        low, high = kind(item["MinValue"]), kind(item["MaxValue"])
    except ValueError:
        raise BadSearch(f"MinValue and MaxValue of {name} must be numbers of its kind.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise BadSearch(f"MinValue of {name} must not be above its MaxValue.")
    if scaling == "ReverseLogarithmic":
        raise BadSearch(f"The ScalingType ReverseLogarithmic of {name} is not searched by this local SageMaker.")
    if scaling == _LOGARITHMIC and low <= 0:
        raise BadSearch(f"The ScalingType Logarithmic of {name} takes a MinValue above 0.")
    return low, high, scaling == _LOGARITHMIC or (scaling == "Auto" and low > 0 and high / low >= _WIDE)


def _sampler(strategy: str, seed: int) -> BaseSampler:
    if strategy == "Random":
        return RandomSampler(seed=seed)
    if strategy != "Bayesian":
        raise BadSearch(
            f"The strategy {strategy} is not searched by this local SageMaker: use Bayesian, Random or Grid."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, constant_liar=True)


def _known(space: Mapping[str, BaseDistribution], trial: Trial) -> optuna.trial.FrozenTrial:
    parameters = {name: _of_text(space[name], text) for name, text in trial.parameters.items()}
    state = TrialState.RUNNING if trial.value is None else TrialState.COMPLETE
    return optuna.trial.create_trial(params=parameters, distributions=dict(space), value=trial.value, state=state)


def _of_text(distribution: BaseDistribution, text: str) -> int | float | str:
    if isinstance(distribution, IntDistribution):
        return int(text)
    return float(text) if isinstance(distribution, FloatDistribution) else text


def _as_text(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) if isinstance(value, float) else str(value) for name, value in parameters.items()}


def _next_of_grid(space: Mapping[str, BaseDistribution], index: int) -> dict[str, str] | None:
    choices = []
    for name, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            raise BadSearch(f"The strategy Grid takes categorical ranges only: {name} has another.")
        choices.append([str(choice) for choice in distribution.choices])
    chosen = next(itertools.islice(itertools.product(*choices), index, None), None)
    return None if chosen is None else dict(zip(space, chosen, strict=True))
