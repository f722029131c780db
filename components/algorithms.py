"""The algorithms that a build trains, and the roles in which models are judged.

A role is an algorithm's name, or the stage whose endpoint serves the champion.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from components import parameters
from components.run import Refused
from loopcast.names import Names

CANDIDATES = ("boosted", "deepar", "statistical")
"""The algorithms that can be candidates, and those that are where nothing else is said."""

EMPIRICAL = "empirical"
"""The packaged baseline, which every build trains beside its candidates."""

CHAMPION_STAGES = ("production", "staging")
"""Where the champion is looked for: the first of these stages that has an endpoint."""

ROLES = (*CANDIDATES, EMPIRICAL, *CHAMPION_STAGES)


def candidates_of(names: Names, override: str = "") -> tuple[str, ...]:
    """The candidates of a build: `override`, else SSM's `/loopcast/<feed>/candidates`, else all; comma separated.

    Raises `Refused` when one is unknown or none is named.
    """
    text = override or parameters.text(names, "candidates")
    if text is None:
        return CANDIDATES
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in found if name not in CANDIDATES]
    if unknown or not found:
        said = f"{', '.join(unknown)} is not known" if unknown else "none is named"
        raise Refused(f"The candidates {text!r} can't be trained, since {said}: choose of {', '.join(CANDIDATES)}.")
    return found


def require_models(answered: Collection[str], failed: Mapping[str, str]) -> None:
    """Raises `Refused` with what failed unless a model of this run has `answered`."""
    if not set(answered) - set(CHAMPION_STAGES):
        raise Refused(f"No model of this run could be judged. {' '.join(failed.values())}")
