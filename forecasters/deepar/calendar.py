"""What a network is told of a step besides the target: where it lies in the hour, day, week, month and year.

Both lists are GluonTS's for the frequency, less what the training history is too short to teach: a cycle that it does
not cover twice, and a lag that reaches over more than half of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
from gluonts import time_feature

from forecasters.frequency import days, parse

CYCLES = {  # in days
    "minute_of_hour": 1 / 24,
    "hour_of_day": 1,
    "day_of_week": 7,
    "day_of_month": 30.4,
    "day_of_year": 365,
    "week_of_year": 365,
    "month_of_year": 365,
}
OFFSETS = {"M": "ME", "W": "W", "D": "D", "H": "h", "min": "min"}
PERIODS = {**OFFSETS, "M": "M"}


def feature_names(frequency: str, steps: int) -> list[str]:
    """The time features that a history of `steps` steps can teach."""
    known = time_feature.time_features_from_frequency_str(_named(frequency, OFFSETS))
    return [feature.__name__ for feature in known if 2 * CYCLES[feature.__name__] <= steps * days(frequency)]


def lags(frequency: str, steps: int) -> list[int]:
    """The lags that a history of `steps` steps can teach; the first is 1."""
    known = time_feature.get_lags_for_frequency(_named(frequency, OFFSETS))
    return [lag for lag in known if lag <= max(steps // 2, 1)]


def features(names: Sequence[str], start: datetime, offset: int, steps: int, frequency: str) -> npt.NDArray[np.float32]:
    """(steps, len(names)), from `offset` steps after `start` on."""
    first = pd.Period(start, freq=_named(frequency, PERIODS)) + offset
    index = pd.period_range(first, periods=steps, freq=first.freq)
    columns = [getattr(time_feature, name)(index) for name in names]
    return np.array(columns, dtype=np.float32).reshape(len(names), steps).T


def _named(frequency: str, names: dict[str, str]) -> str:
    multiple, unit = parse(frequency)
    return f"{multiple}{names[unit]}"
