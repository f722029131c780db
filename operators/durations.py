"""Lengths of event time as text, for example `6h`, `30m` or `1d12h`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from operators.models import cel

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
PATTERN = r"^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$"
_PATTERN = re.compile(PATTERN)
_ABOVE_ZERO = cel(("self.matches('[1-9]')", "must be longer than 0"))


def parse_duration(text: object) -> timedelta:
    """The length that `text` states, days before hours before minutes before seconds. Raises `ValueError`."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not text or not _PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is no duration: write it like 6h, 30m or 1d12h")
    seconds = sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"\d+[dhms]", text))
    if not seconds:
        raise ValueError(f"{text!r} must be longer than 0")
    return timedelta(seconds=seconds)


def format_duration(length: timedelta) -> str:
    """The shortest text of `length` in whole seconds: `1d12h`; `0s` for none."""
    left, parts = round(length.total_seconds()), []
    for unit, seconds in _UNITS.items():
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 24, **_ABOVE_ZERO}),
]
