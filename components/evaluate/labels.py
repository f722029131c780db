"""What forecasters are called where people read of them."""

_LABELS = {
    "boosted": "gradient boosting",
    "deepar": "DeepAR",
    "statistical": "statistical model",
    "empirical": "empirical baseline, packaged",
    "production": "model in production",
    "staging": "model in staging",
    "persistence": "persistence",
}


def label(name: str) -> str:
    """The label of a role or a baseline, for example `empirical quantiles of 6 h` for empirical_6h."""
    return _LABELS.get(name) or f"empirical quantiles of {name.removeprefix('empirical_').removesuffix('h')} h"
