"""What `make status` shows: each part's health, lag and last output; and the programs' own counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import requests
from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client.parser import text_string_to_metric_families

from flink.metrics import read as read_flink
from local import notifications, online
from local.control import LiveSource, ReplayedSource, Source
from local.decisions import Operator
from local.flow import Counters
from local.parts import Settings
from local.processes import Program, healthy
from local.stack import Stack
from loopcast.aws import client

_TIMEOUT = 5
_HEADER = ("part", "state", "lag", "last output")


@dataclass(frozen=True)
class Line:
    part: str
    state: str
    lag: str = ""
    last_output: str = ""


def describe(stack: Stack) -> str:
    """A table with a line for each part, and one for what has come out at the end."""
    lines = [_line(stack, program) for program in stack.programs]
    lines += [part(stack.settings) for part in (_archive, _feature_group, _endpoints, _notifications)]
    rows = [_HEADER, *((line.part, line.state, line.lag, line.last_output) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def counters(settings: Settings) -> Counters:
    """The programs' counters, since each one's start. Raises `requests.RequestException`."""
    poller, deduplicator = metrics(settings, "poller"), metrics(settings, "deduplicator")
    return Counters(
        polled=int(poller["loopcast_poller_polled_events_total"]),
        published=int(poller["loopcast_poller_published_events_total"]),
        deduplicated=int(deduplicator["loopcast_deduplicator_delivered_events_total"]),
        late=int(metrics(settings, "repairer")["loopcast_repairer_late_events_total"]),
        gaps=int(poller["loopcast_poller_gaps_total"]),
    )


def metrics(settings: Settings, part: str) -> dict[str, float]:
    """What a part exports on /metrics, by name, summed over labels. Raises `requests.RequestException`."""
    answer = requests.get(f"{settings.url(part)}/metrics", timeout=_TIMEOUT)
    answer.raise_for_status()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def source_of(settings: Settings) -> Source:
    """The clock of events."""
    return LiveSource() if settings.source == "live" else ReplayedSource(settings.url("source"))


def _line(stack: Stack, program: Program) -> Line:
    if not stack.processes.pid(program.name):
        return Line(program.name, "stopped", last_output=f"see {stack.processes.log_of(program.name)}")
    if not healthy(program.health):
        return Line(program.name, "not healthy", last_output=f"see {stack.processes.log_of(program.name)}")
    describe_part = _PARTS.get(program.name)
    lag, last = _tolerant(describe_part, stack.settings) if describe_part else ("", "")
    return Line(program.name, "healthy", lag, last)


def _tolerant(describe_part: Callable[[Settings], tuple[str, str]], settings: Settings) -> tuple[str, str]:
    """A part that can't be asked just now doesn't keep the others from being shown."""
    try:
        return describe_part(settings)
    except (requests.RequestException, ClientError, BotoCoreError, KeyError, ValueError) as error:
        return "unknown", f"{type(error).__name__}: {error}"[:120]


def _source(settings: Settings) -> tuple[str, str]:
    state = ReplayedSource(settings.url("source")).state()
    return "", f"{state['listed']:,} listed, {state['unlisted']:,} never listed, at {state['event_time']}"


def _poller(settings: Settings) -> tuple[str, str]:
    found = metrics(settings, "poller")
    waiting, gaps = found["loopcast_poller_in_hand_events"], found["loopcast_poller_gaps_total"]
    published = found["loopcast_poller_published_events_total"]
    return f"{waiting:.0f} in hand", f"{published:,.0f} published, {gaps:.0f} gaps"


def _deduplicator(settings: Settings) -> tuple[str, str]:
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName=settings.names.queue)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    depth = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    delivered = metrics(settings, "deduplicator")["loopcast_deduplicator_delivered_events_total"]
    return f"{sum(int(depth[name]) for name in names)} messages queued", f"{delivered:,.0f} delivered"


def _flink(settings: Settings) -> tuple[str, str]:
    found = read_flink(settings.port("flink-metrics"))
    behind = "unknown" if found.behind is None else f"{found.behind / 1000:.0f} s behind"
    return behind, f"{found.records_in:,} read, {found.records_out:,} minutes, {found.late:,} late"


def _feature_writer(settings: Settings) -> tuple[str, str]:
    found = metrics(settings, "feature-writer")
    written = found.get("loopcast_feature_writer_written_minutes_total", 0)
    return _behind(found), f"{written:,.0f} minutes written"


def _repairer(settings: Settings) -> tuple[str, str]:
    found = metrics(settings, "repairer")
    repaired = found.get("loopcast_repairer_repaired_minutes_total", 0)
    return _behind(found), f"{repaired:,.0f} minutes repaired"


def _operator(settings: Settings) -> tuple[str, str]:
    decisions = Operator(settings.operator_state).decisions()
    if not decisions:
        return "", "nothing decided yet"
    newest = {item["kind"]: item["message"] for item in decisions}
    return "", " | ".join(f"{kind}: {message}" for kind, message in newest.items())


def _behind(found: dict[str, float]) -> str:
    return f"{found.get('loopcast_stream_behind_seconds', 0):.0f} s behind"


_PARTS: dict[str, Callable[[Settings], tuple[str, str]]] = {
    "source": _source,
    "flink": _flink,
    "poller": _poller,
    "deduplicator": _deduplicator,
    "feature-writer": _feature_writer,
    "repairer": _repairer,
    "operator": _operator,
}


def _archive(settings: Settings) -> Line:
    def newest(settings: Settings) -> tuple[str, str]:
        names = settings.names
        pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=names.bucket, Prefix=names.raw_prefix)
        objects = [item for page in pages for item in page.get("Contents", [])]
        if not objects:
            return "", "empty"
        last = max(item["LastModified"] for item in objects)
        return f"{(datetime.now(UTC) - last).total_seconds():.0f} s since the last", f"{len(objects):,} objects"

    return _stored("archive", newest, settings)


def _feature_group(settings: Settings) -> Line:
    def newest(settings: Settings) -> tuple[str, str]:
        now = source_of(settings).now()
        runtime = client("sagemaker-featurestore-runtime")
        minute = online.newest(runtime, settings.names.feature_group, settings.feed.name, now)
        if minute is None:
            return "", "no minute yet"
        return f"{(now - minute).total_seconds():.0f} s of event time", f"minute {minute:%Y-%m-%d %H:%M}"

    return _stored("features", newest, settings)


def _endpoints(settings: Settings) -> Line:
    def states(settings: Settings) -> tuple[str, str]:
        found = client("sagemaker").list_endpoints(NameContains=settings.names.prefix)["Endpoints"]
        return "", ", ".join(f"{item['EndpointName']} {item['EndpointStatus']}" for item in found) or "none"

    return _stored("endpoints", states, settings)


def _notifications(settings: Settings) -> Line:
    def newest(settings: Settings) -> tuple[str, str]:
        file = settings.folder / "notifications.log"
        notifications.collect(settings.names, file)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return "", f"{len(lines)} in {file}, the newest: {max(lines)}" if lines else "none"

    return _stored("notifications", newest, settings)


def _stored(part: str, describe_part: Callable[[Settings], tuple[str, str]], settings: Settings) -> Line:
    lag, last = _tolerant(describe_part, settings)
    return Line(part, "unknown" if lag == "unknown" else "present", lag, last)
