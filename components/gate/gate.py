"""Decides whether a model has earned its place; pure, but for the ceiling in SSM."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.run import Refused
from loopcast import aws
from loopcast.feed import Feed
from loopcast.names import Names

PENDING, REJECTED = "PendingManualApproval", "Rejected"


def objections(
    loss: float | None, baselines: Mapping[str, float | None], production: float | None, ceiling: float | None
) -> list[str]:
    """Why a model of this `loss` is not to be registered for approval, a sentence each; none when it has earned it.

    It must be below the best of `baselines`, below the model in production and below the ceiling, where there is one.
    """
    if loss is None or not math.isfinite(loss):
        return ["Its loss is not a number: every minute of the windows is zero or never came."]
    found = []
    known = {name: value for name, value in baselines.items() if value is not None and math.isfinite(value)}
    best = min(known, key=lambda name: known[name], default=None)
    if best is not None and not loss < known[best]:
        found.append(f"Its loss of {loss:.4g} is not below the best baseline's, {best} with {known[best]:.4g}.")
    if production is not None and not loss < production:
        found.append(f"Its loss of {loss:.4g} is not below the {production:.4g} of the model in production.")
    if ceiling is not None and not loss < ceiling:
        found.append(f"Its loss of {loss:.4g} is not below the ceiling of {ceiling:.4g}.")
    return found


def decide(losses: Mapping[str, float | None], ceiling: float | None) -> dict[str, Any]:
    """What to register, from the losses by name (`candidate`, `empirical`, `production` where there is one, baselines).

    A candidate that passes is registered alone. Else it is registered as rejected, and the packaged empirical
    baseline in its place, which must in its turn be better than the model in production and the ceiling.
    """
    production = losses.get("production")
    baselines = {name: loss for name, loss in losses.items() if name not in {"candidate", "production"}}
    against_candidate = objections(losses["candidate"], baselines, production, ceiling)
    entries = [_entry("candidate", against_candidate)]
    if against_candidate:
        entries.append(_entry("empirical", objections(losses["empirical"], {}, production, ceiling)))
    return {"passed": not against_candidate, "ceiling": ceiling, "register": entries}


def _entry(role: str, reasons: list[str]) -> dict[str, Any]:
    return {"role": role, "status": REJECTED if reasons else PENDING, "reasons": reasons}


def ceiling(feed: Feed, names: Names) -> float | None:
    """The limit in SSM's `/loopcast/<feed>/thresholds/max_loss`, else the feed's, else none."""
    name = names.parameter("thresholds", "max_loss")
    try:
        text = aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        return feed.thresholds.max_loss
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        raise Refused(f"The parameter {name} must be a number, not {text!r}.")
    return limit
