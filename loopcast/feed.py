"""A feed: one YAML file from which the whole stack derives.

`load_feed` reads and checks it; a mistake is reported with the file, the line and the field.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jmespath
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

_DURATION = re.compile(r"(\d+)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME_UNITS = {"s": 1000, "ms": 1}
RESERVED = {
    *("record_id", "event_time", "series_id", "minute_start", "revision"),
    *("write_time", "api_invocation_time", "is_deleted"),  # the offline store's own columns
}
"""Names that no metric may have."""


class FeedError(ValueError):
    """A feed file that can't be used; the message says where and why."""


def _seconds(value: object) -> object:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError("a duration is a whole number and a unit, one of s, m, h, d: for example 30s")
    return int(match[1]) * _SECONDS[match[2]]


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", value):
        raise ValueError("a name has lower-case letters, digits and underscores, and begins with a letter")
    return value


def _jmespath(value: str) -> str:
    try:
        jmespath.compile(value)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"{value!r} is not JMESPath") from error
    return value


Duration = Annotated[int, BeforeValidator(_seconds), Field(gt=0)]
"""Whole seconds, written as `30s`, `1m`, `3h` or `1d`."""

Identifier = Annotated[str, AfterValidator(_identifier)]


JMESPath = Annotated[str, AfterValidator(_jmespath)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(_Model):
    """Where events are polled from, and how an answer is read."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    items: JMESPath
    page_size: Annotated[int, Field(gt=0)]
    min_poll_interval: Duration
    max_poll_interval: Duration
    timeout: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Source:
        if self.min_poll_interval > self.max_poll_interval:
            raise ValueError("min_poll_interval: it is longer than max_poll_interval")
        return self


class Difference(_Model):
    """A value's substitute where it is missing: the sum of one JMESPath less the sum of another."""

    sum: JMESPath
    minus: JMESPath


class Value(_Model):
    """One number of an event. `divide_by` rounds up to a whole number."""

    path: JMESPath
    type: Literal["integer", "number"]
    unit: str
    divide_by: Annotated[int, Field(gt=1)] | None = None
    otherwise: Difference | None = None

    @model_validator(mode="after")
    def _whole(self) -> Value:
        if self.divide_by and self.type != "integer":
            raise ValueError("divide_by: it needs type: integer")
        return self


class EventFields(_Model):
    """How an event is identified, dated and measured; paths are JMESPath."""

    noun: str
    id: JMESPath
    time: JMESPath
    time_unit: Literal["s", "ms"]
    max_clock_skew: Duration
    values: Annotated[dict[Identifier, Value], Field(min_length=1)]

    @property
    def milliseconds_per_unit(self) -> int:
        return _TIME_UNITS[self.time_unit]


class Window(_Model):
    """The tumbling event-time window and how long the past is remembered (all in seconds of event time)."""

    size: Duration
    lateness: Duration
    deduplication: Duration

    @model_validator(mode="after")
    def _minute(self) -> Window:
        if self.size != 60:
            raise ValueError("size: it must be 1m, since features are kept per minute")
        return self


class Stream(_Model):
    """The Kinesis stream of events. Shards that were closed count to `max_shards` until their records have expired."""

    shards: Annotated[int, Field(gt=0)] = 1
    max_shards: Annotated[int, Field(gt=0)] = 1

    @model_validator(mode="after")
    def _enough(self) -> Stream:
        if self.max_shards < self.shards:
            raise ValueError("max_shards is less than shards")
        return self


class Metric(_Model):
    """One column of a minute: an aggregate of the window's events."""

    aggregate: Literal["count", "sum", "mean", "ratio"]
    unit: str
    of: str | None = None
    per: str | None = None

    @model_validator(mode="after")
    def _operands(self) -> Metric:
        wanted = {"count": (False, False), "sum": (True, False), "mean": (True, False), "ratio": (True, True)}
        if (self.of is not None, self.per is not None) != wanted[self.aggregate]:
            raise ValueError("count takes neither of nor per, sum and mean take of, ratio takes of and per")
        return self


class Forecast(_Model):
    """What is forecast. The horizon is in seconds of event time; `steps` is the same in minutes."""

    target: str
    horizon: Duration
    quantiles: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]

    @property
    def steps(self) -> int:
        return self.horizon // 60

    @model_validator(mode="after")
    def _sound(self) -> Forecast:
        if self.horizon % 60:
            raise ValueError("horizon: it must be whole minutes")
        if self.quantiles != sorted(set(self.quantiles)) or 0.5 not in self.quantiles:
            raise ValueError("quantiles: they must rise and contain 0.5")
        return self


class Thresholds(_Model):
    """Limits that a model must keep; SSM parameters of the same name override them."""

    max_loss: Annotated[float, Field(gt=0)] | None = None


class Feed(_Model):
    """A feed file, checked. Raises `FeedError` through `load_feed` only."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}[a-z0-9]$")]
    title: str
    source: Source
    event: EventFields
    stream: Stream = Stream()
    window: Window
    metrics: Annotated[dict[Identifier, Metric], Field(min_length=1)]
    forecast: Forecast
    thresholds: Thresholds = Thresholds()

    @property
    def count_metric(self) -> str:
        """The metric that counts a minute's events: repairs and the check of the flow go by it."""
        return next(name for name, metric in self.metrics.items() if metric.aggregate == "count")

    @model_validator(mode="after")
    def _consistent(self) -> Feed:
        for name, metric in self.metrics.items():
            self._check_metric(name, metric)
        if all(metric.aggregate != "count" for metric in self.metrics.values()):
            raise ValueError("metrics: one must count the events (aggregate: count)")
        if self.forecast.target not in self.metrics:
            raise ValueError(f"forecast.target: no metric is named {self.forecast.target!r}")
        reserved = RESERVED & set(self.metrics)
        if reserved:
            raise ValueError(f"metrics.{min(reserved)}: the name is reserved")
        return self

    def _check_metric(self, name: str, metric: Metric) -> None:
        for key, operand in (("of", metric.of), ("per", metric.per)):
            if operand is not None and operand not in self.event.values:
                raise ValueError(f"metrics.{name}.{key}: no value is named {operand!r}")
        if metric.unit != (unit := self._unit(metric)):
            raise ValueError(f"metrics.{name}.unit: {metric.unit!r} should be {unit!r}")

    def _unit(self, metric: Metric) -> str:
        of = self.event.values[metric.of].unit if metric.of else ""
        per = self.event.values[metric.per].unit if metric.per else ""
        noun = self.event.noun
        return {"count": noun, "sum": of, "mean": f"{of}/{noun}", "ratio": f"{of}/{per}"}[metric.aggregate]


def load_feed(path: str | Path) -> Feed:
    """The feed in `path`; raises `FeedError` with `file:line: field: what is wrong` for each mistake."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(f"{path}: can't be read: {error}") from error
    return parse_feed(text, str(path))


def parse_feed(text: str, name: str = "feed") -> Feed:
    """As `load_feed`, from the file's text."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FeedError(f"{name}: not YAML: {error}") from error
    _refuse_duplicates(node, name)
    try:
        return Feed.model_validate(document)
    except ValidationError as error:
        raise FeedError("\n".join(_sentence(name, node, dict(item)) for item in error.errors())) from error


def _sentence(name: str, root: yaml.Node | None, error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    message = error["msg"].removeprefix("Value error, ")
    stated = re.match(r"((?:[a-z_]+\.)*[a-z0-9_]+): ", message)
    if stated:  # a check across fields names its field itself
        path, message = [*path, *stated[1].split(".")], message[stated.end() :]
    if error["type"] == "extra_forbidden":
        message = "unknown key"
    line, known = _locate(root, path)
    return f"{name}:{line}: {'.'.join(known) or 'the file'}: {message}"


def _locate(node: yaml.Node | None, path: list[str]) -> tuple[int, list[str]]:
    """The line of the deepest part of `path` that stands in the file, and the path without pydantic's own parts."""
    line, known = (node.start_mark.line + 1 if node else 1), []
    for index, part in enumerate(path):
        child = _child(node, part)
        if child is not None:
            line, node = child
            known.append(part)
        elif index == len(path) - 1 and isinstance(node, yaml.MappingNode):
            known.append(part)  # a field that is missing
    return line, known


def _child(node: yaml.Node | None, part: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item.start_mark.line + 1, item
    return None


def _refuse_duplicates(node: yaml.Node | None, name: str) -> None:
    """YAML keeps the last of two equal keys in silence: a slip of the pen would go unseen."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise FeedError(f"{name}:{key.start_mark.line + 1}: {key.value}: the key stands twice")
            seen.add(key.value)
            _refuse_duplicates(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, name)


def main() -> None:
    """Checks the feed files named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m loopcast.feed", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    for path in parser.parse_args().files:
        try:
            feed = load_feed(path)
        except FeedError as error:
            raise SystemExit(str(error)) from None
        print(f"{path}: the feed {feed.name} is sound: {', '.join(feed.metrics)}")


if __name__ == "__main__":
    main()
