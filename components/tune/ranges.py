"""Where a tuning run searches: the range of each tuned hyperparameter of an algorithm, in the API's form; pure."""

from __future__ import annotations

from typing import Any

from components.run import Refused
from loopcast.feed import Feed


def ranges(algorithm: str, feed: Feed) -> dict[str, Any]:
    """The `ParameterRanges` of a tuning job. Raises `Refused` for an algorithm that has nothing to tune."""
    known = {"boosted": _boosted, "deepar": _deepar, "statistical": _statistical}
    if algorithm not in known:
        raise Refused(f"{algorithm} has no hyperparameters to tune: choose of {', '.join(sorted(known))}.")
    return known[algorithm](feed)


def tuned_names(found: dict[str, Any]) -> set[str]:
    """The names of the hyperparameters in `ParameterRanges`."""
    return {item["Name"] for items in found.values() for item in items}


def _deepar(feed: Feed) -> dict[str, Any]:
    """A context of one to eight horizons; the rest about what did well on short and on long histories."""
    horizon = feed.forecast.steps
    return {
        "IntegerParameterRanges": [
            _range("context_length", horizon, 8 * horizon),
            _range("epochs", 3, 60, "Logarithmic"),
            _range("num_cells", 20, 80),
        ],
        "ContinuousParameterRanges": [
            _range("learning_rate", 1e-4, 1e-2, "Logarithmic"),
            _range("dropout_rate", 0.0, 0.2),
        ],
    }


def _boosted(feed: Feed) -> dict[str, Any]:
    """Shallow, slow trees: deeper ones learn the noise of fees by heart."""
    horizon = feed.forecast.steps
    return {
        "IntegerParameterRanges": [
            _range("context_length", 4 * horizon, 48 * horizon, "Logarithmic"),
            _range("num_round", 10, 200, "Logarithmic"),
            _range("max_depth", 2, 5),
        ],
        "ContinuousParameterRanges": [
            _range("eta", 0.01, 0.2, "Logarithmic"),
            _range("min_child_weight", 5.0, 200.0, "Logarithmic"),
        ],
    }


def _statistical(feed: Feed) -> dict[str, Any]:
    horizon = feed.forecast.steps
    return {
        "IntegerParameterRanges": [
            _range("context_length", 2 * horizon, 48 * horizon, "Logarithmic"),
            _range("autoregressive_order", 1, 4),
            _range("moving_average_order", 0, 2),
        ]
    }


def _range(name: str, low: float, high: float, scaling: str = "Linear") -> dict[str, str]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}
