"""What differs between a resource as it is declared and as it is.

Only what is declared counts: a service fills in the rest. Lists are compared without their order, which services
change; JSON in text is compared as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from applier.fields import ack_name


@dataclass(frozen=True)
class Difference:
    """One field that differs; `path` is under ACK's names."""

    path: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.found)} -> {_short(self.wanted)}"


def differences(wanted: Any, found: Any, path: str) -> list[Difference]:
    """The fields under `path` in which `found` isn't what is `wanted`; both are under the API's names."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return [
            difference
            for name, value in wanted.items()
            for difference in differences(value, found.get(name), f"{path}.{ack_name(name)}")
        ]
    return [] if _same(wanted, found) else [Difference(path, wanted, found)]


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str) and not isinstance(found, (int, float)):
        return wanted == found or _same_json(wanted, found)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and _all_matched(wanted, list(found))
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(_same(value, found.get(name)) for name, value in wanted.items())
    return bool(wanted == found)


def _all_matched(wanted: list[Any], found: list[Any]) -> bool:
    for item in wanted:
        match = next((index for index, other in enumerate(found) if _same(item, other)), None)
        if match is None:
            return False
        del found[match]
    return True


def _same_json(wanted: str, found: Any) -> bool:
    parsed = _document(wanted)
    return parsed is not None and parsed == (_document(found) if isinstance(found, str) else found)


def _document(text: str) -> Any:
    """The JSON object or list in a text, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _short(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
