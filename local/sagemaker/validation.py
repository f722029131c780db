"""Checks a request's parameters against a shape of botocore's service model, with the service's kind of message.

botocore's own validator knows neither patterns, enumerations nor upper bounds; the service does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from local.sagemaker.errors import ValidationException

_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a string", lambda value: isinstance(value, str)),
    "character": ("a string", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: type(value) is int),
    "long": ("a whole number", lambda value: type(value) is int),
    "float": ("a number", lambda value: type(value) in (int, float)),
    "double": ("a number", lambda value: type(value) in (int, float)),
    "timestamp": ("a time in seconds since the epoch", lambda value: type(value) in (int, float)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "blob": ("a blob", lambda value: isinstance(value, str | bytes)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "map": ("an object", lambda value: isinstance(value, dict)),
    "structure": ("an object", lambda value: isinstance(value, dict)),
}


def validate(shape: Any, parameters: dict[str, Any]) -> None:
    """Raises `ValidationException` that names everything which is wrong; drops members that are null."""
    errors = list(_errors(shape, parameters, ""))
    if errors:
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected"
        raise ValidationException(f"{count}: {'; '.join(errors)}")


def _errors(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind, is_kind = _TYPES[shape.type_name]
    if not is_kind(value):
        yield _broken(path, value, f"Member must be {kind}")
    elif shape.type_name == "structure":
        if not shape.metadata.get("document"):
            yield from _structure_errors(shape, value, path)
    elif shape.type_name == "list":
        yield from _size_errors(shape, value, path)
        for index, item in enumerate(value, 1):
            yield from _errors(shape.member, item, f"{path}.{index}.member")
    elif shape.type_name == "map":
        yield from _size_errors(shape, value, path)
        for key, item in value.items():
            yield from _errors(shape.key, key, f"{path}.key")
            yield from _errors(shape.value, item, f"{path}.{key}.member")
    else:
        yield from _scalar_errors(shape, value, path)


def _structure_errors(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in [name for name, item in value.items() if item is None]:
        del value[name]
    for name in shape.required_members:
        if name not in value:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, item in value.items():
        if name in shape.members:
            yield from _errors(shape.members[name], item, _join(path, name))
        else:
            known = ", ".join(shape.members)
            yield f"Unknown parameter '{name}' at '{path or 'the request'}', must be one of: {known}"


def _scalar_errors(shape: Any, value: Any, path: str) -> Iterator[str]:
    enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
    if enum and value not in enum:
        yield _broken(path, value, f"Member must satisfy enum value set: [{', '.join(enum)}]")
    if isinstance(value, str):
        yield from _size_errors(shape, value, path)
        if pattern and not _matches(pattern, value):
            yield _broken(path, value, f"Member must satisfy regular expression pattern: {pattern}")
    elif isinstance(value, int | float) and shape.type_name != "timestamp":
        yield from _bound_errors(shape, value, value, path, "value")


def _size_errors(shape: Any, value: Any, path: str) -> Iterator[str]:
    return _bound_errors(shape, len(value), value, path, "length")


def _bound_errors(shape: Any, size: float, value: Any, path: str, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _broken(path, value, f"Member must have {what} greater than or equal to {least}")
    if most is not None and size > most:
        yield _broken(path, value, f"Member must have {what} less than or equal to {most}")


def _broken(path: str, value: Any, constraint: str) -> str:
    return f"Value '{str(value)[:200]}' at '{path}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    """The service writes the names of members in lower camel case."""
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _matches(pattern: str, value: str) -> bool:
    expression = _expression(pattern)
    return expression is None or expression.fullmatch(value) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str] | None:
    """None for the few patterns in Java's own dialect (`\\p{L}`), which Python can't read: those go unchecked."""
    try:
        return re.compile(pattern)
    except re.error:
        return None
