"""`time_freq`: how long a step is, as the built-in algorithm writes it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

DAYS = {"M": 30.4, "W": 7.0, "D": 1.0, "H": 1 / 24, "min": 1 / 1440}
PATTERN = re.compile(r"([1-9]\d*)?(M|W|D|H|min)")


def _checked(text: str) -> str:
    if not PATTERN.fullmatch(text):
        raise ValueError("it is M, W, D, H or min, or a multiple of one such as 5min")
    return text


TimeFrequency = Annotated[str, AfterValidator(_checked)]


def parse(text: str) -> tuple[int, str]:
    """The multiple and the unit."""
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a frequency: {text}")
    return int(match[1] or 1), match[2]


def days(text: str) -> float:
    """The length of a step in days; a month counts as 30.4."""
    multiple, unit = parse(text)
    return multiple * DAYS[unit]
