"""The job's SQL, generated from the feed by pure functions.

    events ─▶ dated ─▶ distinct_events ─▶ judged ─┬─ in time ─▶ one-minute windows ─▶ minutes
                                                  └─ late ───────────────────────────▶ late

Whether an event is late is judged once, for both ways. It is late when its minute's last millisecond is not after the
watermark, which is when the window would drop it. After a restore there is no watermark at first, although the window
remembers its own: so it is also late when its shard's newest event, which is kept in the state, is that far ahead.
Through all of this one subtask follows another over one channel each (flink/job.py), so that what judges and what
drops see the same watermarks.

Columns for the feed's values have a prefix, so that no feed's name meets one of ours.
"""
# ruff: noqa: S608 - the texts are put together from a checked feed, whose names hold letters, digits and dashes only.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flink.connector import SHARD_COLUMN, Kinesis
from loopcast.clock import Clock
from loopcast.feed import Feed, Metric
from loopcast.minute import is_integer

IDLE_TIMEOUT = 30
"""Seconds of wall time after which a source that brings nothing no longer holds the watermark back."""
REDELIVERY = 300
"""Seconds of wall time within which an event may come again after a crash, however fast event time passes."""
_TYPES = {"integer": "BIGINT", "number": "DOUBLE"}
_ISO = "yyyy-MM-dd''T''HH:mm:ss''Z''"


@dataclass(frozen=True)
class Streams:
    """The names of the Kinesis streams that the job reads and writes."""

    events: str
    minutes: str
    late: str


@dataclass(frozen=True)
class Job:
    """`definitions` make the tables and views; `inserts` run together as one job."""

    settings: Mapping[str, str]
    definitions: tuple[str, ...]
    inserts: tuple[str, ...]


def kinesis_job(feed: Feed, streams: Streams, kinesis: Kinesis, clock: Clock) -> Job:
    """The job of `feed` from and to Kinesis."""
    definitions = (
        events_table(feed, clock, kinesis.source(streams.events), SHARD_COLUMN),
        *views(feed, clock),
        minutes_table(feed, kinesis.sink(streams.minutes)),
        late_table(kinesis.sink(streams.late)),
    )
    return Job(settings(feed, clock), definitions, (insert_minutes(feed), insert_late(feed)))


def settings(feed: Feed, clock: Clock) -> dict[str, str]:
    """What the planner and the SQL operators are to be told."""
    memory = max(clock.wall(feed.window.deduplication), REDELIVERY)
    return {
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{memory * 1000:.0f} ms",
        "table.exec.source.idle-timeout": f"{IDLE_TIMEOUT} s",
        # With two phases the late rows that the first one drops would not be counted.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
        # The two ways share one reader, one deduplication and one judgement.
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
    }


def events_table(feed: Feed, clock: Clock, options: Mapping[str, str], shard_column: str) -> str:
    """The stream of events; what has no time counts as very old, so that it moves no watermark."""
    values = ", ".join(f"`{name}` {_TYPES[value.type]}" for name, value in feed.event.values.items())
    return f"""CREATE TEMPORARY TABLE events (
  loopcast ROW<id STRING, `time` BIGINT, `values` ROW<{values}>>,
  {shard_column},
  arrival AS PROCTIME(),
  event_time AS TO_TIMESTAMP_LTZ(COALESCE(loopcast.`time`, 0), 3),
  WATERMARK FOR event_time AS TO_TIMESTAMP_LTZ(COALESCE(loopcast.`time`, 0) - {_lateness_ms(feed, clock)}, 3)
) {_with(options)}"""


def views(feed: Feed, clock: Clock) -> tuple[str, ...]:
    """The way of an event from the stream to the judgement whether it is late."""
    return (_dated(feed), _distinct_events(), _judged(feed, clock))


def minutes_table(feed: Feed, options: Mapping[str, str]) -> str:
    """The stream of minutes, in the form of `loopcast.minute`."""
    metrics = "".join(f",\n  `{name}` {_metric_type(feed, metric)}" for name, metric in feed.metrics.items())
    return f"""CREATE TEMPORARY TABLE minutes (
  series_id STRING,
  minute_start STRING,
  revision BIGINT{metrics}
) PARTITIONED BY (series_id) {_with(options)}"""


def late_table(options: Mapping[str, str]) -> str:
    """The stream of events that came too late for their minute's window."""
    return f"""CREATE TEMPORARY TABLE late (
  series_id STRING,
  minute_start STRING,
  id STRING,
  `time` BIGINT
) PARTITIONED BY (series_id) {_with(options)}"""


def insert_minutes(feed: Feed) -> str:
    metrics = "".join(f",\n  {_aggregate(metric)} AS `{name}`" for name, metric in feed.metrics.items())
    return f"""INSERT INTO minutes
SELECT
  '{feed.name}' AS series_id,
  DATE_FORMAT(window_start, '{_ISO}') AS minute_start,
  CAST(0 AS BIGINT) AS revision{metrics}
FROM TABLE(TUMBLE(TABLE judged, DESCRIPTOR(event_time), INTERVAL '{feed.window.size // 60}' MINUTE))
WHERE NOT late
GROUP BY window_start, window_end"""


def insert_late(feed: Feed) -> str:
    return f"""INSERT INTO late
SELECT
  '{feed.name}' AS series_id,
  DATE_FORMAT(TO_TIMESTAMP_LTZ(minute_ms, 3), '{_ISO}') AS minute_start,
  id,
  ms AS `time`
FROM judged
WHERE late"""


def _dated(feed: Feed) -> str:
    values = "".join(f",\n  loopcast.`values`.`{name}` AS {_column(name)}" for name in feed.event.values)
    present = "".join(f"\n  AND loopcast.`values`.`{name}` IS NOT NULL" for name in feed.event.values)
    return f"""CREATE TEMPORARY VIEW dated AS
SELECT
  loopcast.id AS id,
  loopcast.`time` AS ms,
  event_time,
  arrival,
  MAX(loopcast.`time`) OVER (PARTITION BY shard ORDER BY arrival) AS newest_ms{values}
FROM events
WHERE loopcast.id IS NOT NULL
  AND loopcast.`time` IS NOT NULL{present}"""


def _distinct_events() -> str:
    return """CREATE TEMPORARY VIEW distinct_events AS
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY arrival) AS copy FROM dated)
WHERE copy = 1"""


def _judged(feed: Feed, clock: Clock) -> str:
    size = feed.window.size * 1000
    return f"""CREATE TEMPORARY VIEW judged AS
SELECT
  *,
  (
    minute_ms + {size - 1} <= newest_ms - {_lateness_ms(feed, clock)}
    OR TO_TIMESTAMP_LTZ(minute_ms + {size - 1}, 3) <= CURRENT_WATERMARK(event_time)
  ) IS TRUE AS late
FROM (SELECT *, ms - MOD(ms, {size}) AS minute_ms FROM distinct_events)"""


def _aggregate(metric: Metric) -> str:
    """Sums stay integers, and quotients are taken of doubles: integers would overflow and be cut off."""
    total = f"SUM({_column(metric.of or '')})"
    match metric.aggregate:
        case "count":
            return "COUNT(*)"
        case "sum":
            return total
        case "mean":
            return f"CAST({total} AS DOUBLE) / CAST(COUNT(*) AS DOUBLE)"
        case "ratio":
            return f"CAST({total} AS DOUBLE) / NULLIF(CAST(SUM({_column(metric.per or '')}) AS DOUBLE), 0)"


def _metric_type(feed: Feed, metric: Metric) -> str:
    return "BIGINT" if is_integer(feed, metric) else "DOUBLE"


def _column(value: str) -> str:
    return f"`value_{value}`"


def _lateness_ms(feed: Feed, clock: Clock) -> int:
    return round(clock.lateness(feed.window.lateness) * 1000)


def _with(options: Mapping[str, str]) -> str:
    lines = ",\n".join(f"  '{key}' = '{_quoted(value)}'" for key, value in options.items())
    return f"WITH (\n{lines}\n)"


def _quoted(text: str) -> str:
    return text.replace("'", "''")
