"""Decides whether a model has earned its place; pure, but for the limits in SSM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components import parameters
from components.algorithms import CANDIDATES, EMPIRICAL
from components.evaluate.labels import label
from components.run import Refused
from loopcast.feed import Feed
from loopcast.names import Names

PENDING, REJECTED = "PendingManualApproval", "Rejected"

SIGNIFICANCE = 0.5
"""The largest p-value with which a challenger replaces the champion: at a half, it is more likely better than not."""


def decide(evaluation: Mapping[str, Any], ceiling: float | None, significance: float) -> dict[str, Any]:
    """What to register (`register`) and what became of each candidate (`candidates`), from an evaluation.

    The best of the candidates that pass is registered alone. Where none passes, the best of all is registered as
    rejected, and the packaged empirical baseline in its place, which must in its turn pass the champion and the
    ceiling.
    """
    scores, failed = evaluation["scores"], evaluation["failed"]
    ranked = sorted((name for name in scores if name in CANDIDATES), key=lambda name: _rank(scores, name))
    reasons = {name: objections(evaluation, name, ceiling, significance) for name in ranked}
    winner = next((name for name in ranked if not reasons[name]), None)
    for name in ranked:
        if winner not in (None, name) and not reasons[name]:
            reasons[name] = [f"Its loss of {scores[name]['loss']:.4g} is not below that of {label(str(winner))}."]
    lost = {name: [f"It could not be judged: {reason}"] for name, reason in failed.items() if name in CANDIDATES}
    entries = {name: _entry(evaluation, name, why) for name, why in {**reasons, **lost}.items()}
    best = winner or next(iter(ranked), None)
    register = [entries[best]] if best else []
    if winner is None and EMPIRICAL in scores:
        register.append(_entry(evaluation, EMPIRICAL, objections(evaluation, EMPIRICAL, ceiling, significance)))
    return {
        "passed": winner is not None,
        "ceiling": ceiling,
        "significance": significance,
        "champion": evaluation["champion"],
        "register": register,
        "candidates": list(entries.values()),
    }


def objections(evaluation: Mapping[str, Any], name: str, ceiling: float | None, significance: float) -> list[str]:
    """Why the model `name` is not to be registered for approval, a sentence each; none when it has earned it.

    Its loss must be below the best baseline's (unless it is a baseline itself), below the champion's by more than
    chance, and below the ceiling, each where there is one.
    """
    loss = evaluation["scores"][name]["loss"]
    if loss is None:
        return ["Its loss is not a number: every minute of the windows is zero or never came."]
    found = []
    best = evaluation["best_baseline"]
    limit = evaluation["scores"][best]["loss"] if best and name != EMPIRICAL else None
    if limit is not None and not loss < limit:
        found.append(f"Its loss of {loss:.4g} is not below the best baseline's, {label(best)} with {limit:.4g}.")
    found += _champion_objections(evaluation, name, loss, significance)
    if ceiling is not None and not loss < ceiling:
        found.append(f"Its loss of {loss:.4g} is not below the ceiling of {ceiling:.4g}.")
    return found


def _champion_objections(evaluation: Mapping[str, Any], name: str, loss: float, significance: float) -> list[str]:
    champion = evaluation["champion"]
    if champion is None:
        return []
    limit, test = evaluation["scores"][champion]["loss"], evaluation["against_champion"][name]
    if not loss < limit:
        return [f"Its loss of {loss:.4g} is not below the {limit:.4g} of the {label(champion)}."]
    if test["p_value"] > significance:
        return [
            f"Its loss of {loss:.4g} is below the {limit:.4g} of the {label(champion)}, but that may be chance: "
            f"over {test['windows']} windows that don't overlap the p-value is {test['p_value']:.2g}, "
            f"and at most {significance:g} counts."
        ]
    return []


def _rank(scores: Mapping[str, Mapping[str, Any]], name: str) -> tuple[bool, float, str]:
    loss = scores[name]["loss"]
    return loss is None, loss or 0.0, name


def _entry(evaluation: Mapping[str, Any], name: str, reasons: list[str]) -> dict[str, Any]:
    return {
        "role": name,
        "status": REJECTED if reasons else PENDING,
        "reasons": reasons,
        "against_champion": evaluation["against_champion"].get(name),
    }


def ceiling(feed: Feed, names: Names) -> float | None:
    """The limit in SSM's `/loopcast/<feed>/thresholds/max_loss`, else the feed's, else none."""
    limit = parameters.number(names, "thresholds", "max_loss")
    return feed.thresholds.max_loss if limit is None else limit


def significance(names: Names) -> float:
    """The level in SSM's `/loopcast/<feed>/promotion/significance`, else `SIGNIFICANCE`.

    Raises `Refused` unless it is above 0 and at most 1.
    """
    path = ("promotion", "significance")
    level = parameters.number(names, *path)
    if level is None:
        return SIGNIFICANCE
    if not 0 < level <= 1:
        raise Refused(f"The parameter {names.parameter(*path)} must be above 0 and at most 1, not {level:g}.")
    return level
