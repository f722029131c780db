"""Waits until what a part works on exists, as a cluster starts everything at once.

A part that is started before its resources does nothing, is alive and not ready, and says with each look what it waits
for. The poller must wait: EventBridge takes events for a bus without a rule, or for no bus at all, and drops them.
`python -m ingestion.waiting PART...` waits for what those parts need, and ends.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingestion.dead_letters import queue_url
from ingestion.delivery import TRANSIENT, pauses
from loopcast import aws
from loopcast.minute import RECORD_ID
from loopcast.names import Names
from loopcast.service import Part, run_once

SHORTEST_WAIT, LONGEST_WAIT = 1.0, 10.0
"""Seconds between two looks."""

log = logging.getLogger(__name__)


class Absent(Exception):
    """A resource is not there as yet, or not whole."""


@dataclass(frozen=True)
class Need:
    """A resource; `look` raises an AWS error or `Absent` until it is there. It asks only what the part's role may."""

    what: str
    look: Callable[[], object]


def _needs(names: Names) -> dict[str, list[Need]]:
    """What each part needs, by its name."""
    dead_letters = queue(names.dead_letter_queue)
    return {
        "poller": [dead_letters, rule(names)],
        "deduplicator": [dead_letters, queue(names.queue), table(names.seen_table, "id"), stream(names.events_stream)],
        "feature-writer": [
            dead_letters,
            table(names.positions_table, "shard"),
            stream(names.minutes_stream),
            feature_group(names),
        ],
        "repairer": [
            dead_letters,
            table(names.positions_table, "shard"),
            stream(names.late_stream),
            stream(names.minutes_stream),
            bucket(names),
            feature_group(names),
        ],
        "flink": [
            stream(names.events_stream),
            stream(names.minutes_stream),
            stream(names.late_stream),
            bucket(names),
        ],
    }


def wait_for_resources(part: Part, parts: Sequence[str] = ()) -> bool:
    """True once all is there that `parts` need, by default the part itself; False when a stop was asked for."""
    needs = _needs(part.names)
    found = all(_wait_for(part, need) for name in parts or [part.name] for need in needs[name])
    part.health.ended("waiting")
    return found


def _wait_for(part: Part, need: Need) -> bool:
    for wait in pauses(SHORTEST_WAIT, LONGEST_WAIT):
        part.health.beat("waiting")
        if part.stop.requested or _is_there(need):
            break
        part.stop.wait(wait)
    return not part.stop.requested


def _is_there(need: Need) -> bool:
    try:
        need.look()
    except (*TRANSIENT, Absent) as error:
        log.warning("waiting for a resource", extra={"resource": need.what, "error": str(error)})
        return False
    return True


def queue(name: str) -> Need:
    return Need(f"queue {name}", lambda: queue_url(name))


def table(name: str, key: str) -> Need:
    request = {name: {"Keys": [{key: {"S": "-"}}]}}
    return Need(f"table {name}", lambda: aws.client("dynamodb").batch_get_item(RequestItems=request))


def stream(name: str) -> Need:
    def look() -> None:
        status = aws.client("kinesis").describe_stream_summary(StreamName=name)
        state = status["StreamDescriptionSummary"]["StreamStatus"]
        if state not in ("ACTIVE", "UPDATING"):
            raise Absent(f"it is {state}")

    return Need(f"stream {name}", look)


def bucket(names: Names) -> Need:
    def look() -> None:
        aws.client("s3").list_objects_v2(Bucket=names.bucket, Prefix=names.raw_prefix, MaxKeys=1)

    return Need(f"bucket {names.bucket}", look)


def feature_group(names: Names) -> Need:
    def look() -> None:
        runtime = aws.client("sagemaker-featurestore-runtime")
        runtime.get_record(
            FeatureGroupName=names.feature_group, RecordIdentifierValueAsString="-", FeatureNames=[RECORD_ID]
        )

    return Need(f"feature group {names.feature_group}", look)


def rule(names: Names) -> Need:
    """The rule with its target, without which what is published goes nowhere."""

    def look() -> None:
        answer = aws.client("events").list_targets_by_rule(Rule=names.rule, EventBusName=names.bus)
        if not answer["Targets"]:
            raise Absent("it has no target")

    return Need(f"rule {names.rule}", look)


PARTS = tuple(_needs(Names("any", "")))


def _work(part: Part, settings: argparse.Namespace) -> None:
    if not wait_for_resources(part, settings.parts):
        raise SystemExit("stopped before the resources were there")
    log.info("the resources are there", extra={"parts": settings.parts})


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")


if __name__ == "__main__":
    run_once("waiting", __doc__ or "", _work, _add_flags)
