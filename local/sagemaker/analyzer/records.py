"""Captured predictions and ground truth, read from JSON Lines; pure functions over lines."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

Place = tuple[str, int]
"""A file's path below its source, and a line's number in it: later hours have greater paths."""


class Unreadable(Exception):
    """A line isn't a record, or doesn't hold the numbers that are looked for."""


@dataclass(frozen=True)
class Record:
    """The numbers predicted or observed for an event. Of two records of an event that with the greater `newness`
    counts; `time` is when the prediction was made, where that is written."""

    event: str
    values: tuple[float, ...]
    newness: tuple[str, str, int]
    time: datetime | None = None


def prediction(line: str, attribute: str, place: Place) -> Record:
    """A line of data capture; `attribute` says where in the endpoint's output the prediction is: a column's number
    in CSV, a JMESPath in JSON. Its event is the caller's inferenceId, else the eventId. Raises `Unreadable`."""
    try:
        parsed = json.loads(line)
        event, output = parsed["eventMetadata"], parsed["captureData"]["endpointOutput"]
        name = event.get("inferenceId") or event["eventId"]
        moment = event.get("inferenceTime")
        time = _time(moment) if moment else None
        return Record(name, numbers(output, attribute), (moment or "", *place), time)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"no captured prediction: {error!r}") from error


def ground_truth(line: str, place: Place) -> Record:
    """A line of ground truth. Raises `Unreadable`."""
    try:
        parsed = json.loads(line)
        label = numbers(parsed["groundTruthData"], "0")
        return Record(parsed["eventMetadata"]["eventId"], label, ("", *place))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"no ground truth: {error!r}") from error


def numbers(part: Mapping[str, Any], attribute: str) -> tuple[float, ...]:
    """The numbers that a record's `data` holds in its `encoding`. Raises `Unreadable`, or what a mapping raises."""
    text, encoding = _decoded(part)
    if encoding == "CSV":
        return column(text, attribute)
    if encoding == "JSON":
        return searched(json.loads(text), attribute)
    raise Unreadable(f"the encoding {encoding} is not known")


def column(text: str, attribute: str) -> tuple[float, ...]:
    """A column of CSV without a header, by its number, one value a row. Raises `Unreadable`."""
    if not attribute.isdigit():
        raise Unreadable(f"data in CSV needs a column's number as its attribute, not {attribute!r}")
    rows = [row for row in csv.reader(text.splitlines()) if row]
    try:
        return tuple(float(row[int(attribute)]) for row in rows)
    except (IndexError, ValueError) as error:
        raise Unreadable(f"column {attribute} holds no number: {error}") from error


def searched(document: Any, attribute: str) -> tuple[float, ...]:
    """What a JMESPath finds in a JSON document: a number, or a list of them. Raises `Unreadable`."""
    if attribute.isdigit():
        attribute = f"[{attribute}]"
    try:
        found = jmespath.search(attribute, document)
    except JMESPathError as error:
        raise Unreadable(f"{attribute!r} is no JMESPath: {error}") from error
    values = found if isinstance(found, list) else [found]
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise Unreadable(f"{attribute!r} finds no number") from error


def _decoded(part: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a record's data, and whether it is CSV or JSON."""
    encoding = part["encoding"]
    if encoding != "BASE64":
        return str(part["data"]), encoding
    text = base64.b64decode(part["data"], validate=True).decode()
    return text, "JSON" if "json" in part.get("observedContentType", "").lower() else "CSV"


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
