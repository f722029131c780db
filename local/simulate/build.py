"""A build at a moment of the recording: the pipeline's own steps, without its services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from components.algorithms import EMPIRICAL, ROLES
from components.baselines import Forecast
from components.evaluate.evaluate import evaluate
from components.gate.gate import PENDING, SIGNIFICANCE, decide
from components.history import History
from components.hold_out.hold_out import best_hours, hold_out
from components.run import Refused
from components.train.hyperparameters import defaults, fixed
from components.train.images import image_of
from components.windows import Split
from components.write_threshold.threshold import RULE, Rule, threshold
from local.simulate.containers import ProgramFailed
from local.simulate.models import Models, Recipe
from loopcast.feed import Feed
from loopcast.names import Names

CHAMPION = "production"
ACCOUNT = "000000000000"
"""Names are made for it; nothing is called."""


@dataclass(frozen=True)
class Plan:
    """How a build is made. `lookback`, `windows` and `stride` as the pipeline's parameters, but in steps.

    `hyperparameters` by algorithm stand for those in SSM, `images` for images other than the algorithms' own.
    """

    candidates: tuple[str, ...]
    lookback: int
    windows: int
    stride: int
    hyperparameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    significance: float = SIGNIFICANCE
    ceiling: float | None = None
    rule: Rule = RULE


@dataclass(frozen=True)
class Contender:
    """A model that was judged on held-out windows: its loss there, the threshold that follows from it, and the best
    baseline's name and loss on the same windows."""

    recipe: Recipe
    loss: float
    threshold: float
    baseline: str
    baseline_loss: float


@dataclass(frozen=True)
class Build:
    """What a build came to: `losses` by role and baseline, the gate's `verdict`, the best candidate, the model that the
    gate lets pass, and the champion as it was judged on the newest windows."""

    losses: dict[str, float | None]
    verdict: dict[str, Any]
    challenger: Contender | None
    winner: Contender | None
    champion: Contender | None


class Builds:
    """Makes builds of `history` with `models`."""

    def __init__(self, feed: Feed, history: History, models: Models, plan: Plan) -> None:
        self._feed, self._history, self._models, self._plan = feed, history, models, plan
        self._names = Names(feed.name, ACCOUNT)

    def build(self, step: int, champion: Contender | None) -> Build:
        """A build of the steps before `step`. Raises `Refused` when they are too few."""
        plan = self._plan
        seen = self._history.until(step).last(plan.lookback)
        split = hold_out(seen, self._feed.forecast.steps, plan.windows, plan.stride)
        first = step - len(seen)
        origins = tuple(first + origin for origin in split.origins)
        hours = best_hours(seen, split, self._feed.forecast.quantiles)
        recipes = {name: self._recipe(name, hours, first, origins) for name in (*plan.candidates, EMPIRICAL)}
        if champion is not None:
            recipes[CHAMPION] = champion.recipe
        return self._judge(seen, split, origins, recipes)

    def _recipe(self, algorithm: str, hours: int, first: int, origins: tuple[int, ...]) -> Recipe:
        """Hyperparameters as in the pipeline, but for the length of a step."""
        plan, feed = self._plan, self._feed
        parameters = {
            **defaults(algorithm, feed, hours),
            **({"context_length": str(self._history.steps(hours))} if algorithm == EMPIRICAL else {}),
            **plan.hyperparameters.get(algorithm, {}),
            **fixed(algorithm, feed),
            "time_freq": f"{self._history.step.seconds // 60}min",
        }
        image = image_of(self._names, algorithm, plan.images)
        return Recipe(algorithm, image, tuple(sorted(parameters.items())), first, origins)

    def _judge(self, seen: History, split: Split, origins: Sequence[int], recipes: Mapping[str, Recipe]) -> Build:
        forecasts, failed = self._forecasts(recipes, origins)
        evaluation = {"failed": failed, **evaluate(self._feed, seen, split, forecasts)}
        verdict = decide(evaluation, self._plan.ceiling, self._plan.significance)
        passed = next((entry["role"] for entry in verdict["register"] if entry["status"] == PENDING), None)

        def contender(role: str | None) -> Contender | None:
            known = role is not None and evaluation["scores"][role]["loss"] is not None
            return self._contender(recipes[str(role)], str(role), evaluation) if known else None

        return Build(
            losses={name: score["loss"] for name, score in evaluation["scores"].items()},
            verdict=verdict,
            challenger=contender(evaluation["best_candidate"]),
            winner=contender(passed),
            champion=contender(evaluation["champion"]),
        )

    def _forecasts(
        self, recipes: Mapping[str, Recipe], origins: Sequence[int]
    ) -> tuple[dict[str, list[Forecast]], dict[str, str]]:
        """The forecasts by role, and why other roles have none."""
        found, failed = {}, {}
        with ThreadPoolExecutor(len(recipes)) as threads:
            asked = {role: threads.submit(self._models.forecasts, recipe, origins) for role, recipe in recipes.items()}
        for role, answer in asked.items():
            try:
                found[role] = answer.result()
            except (ProgramFailed, Refused) as error:
                failed[role] = str(error)
        return found, failed

    def _contender(self, recipe: Recipe, role: str, evaluation: Mapping[str, Any]) -> Contender:
        scores = evaluation["scores"]
        judged = scores[role]
        baseline = min(set(scores) - set(ROLES), key=lambda name: (scores[name]["loss"], name))
        limit = threshold(judged["loss"], judged["window_losses"], self._plan.rule)
        return Contender(recipe, judged["loss"], limit, baseline, scores[baseline]["loss"])
