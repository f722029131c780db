"""Reads a Kinesis stream with any number of replicas: each shard by one of them, from where the last reader ended.

A record may come twice (after a crash, or when a lease changes hands), and never not at all: what is done with it must
be the same when it is done again.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError
from prometheus_client import Gauge

from ingestion.delivery import TRANSIENT, GaveUp, Pause, pauses
from ingestion.leases import SHARD_END, Lease, LeaseTable, Shard, Watch, readable, to_take
from loopcast import aws
from loopcast.service import Part

LEASE_SECONDS = 10.0
"""A replica that shows no sign of life for so long loses its shards."""
READ_INTERVAL = 0.25
"""Seconds between two reads of a shard: Kinesis allows five a second, all readers together."""
READ_RECORDS = 1000

HELD = Gauge("loopcast_stream_shards_held", "Shards that this replica reads", ["stream"])
BEHIND = Gauge("loopcast_stream_behind_seconds", "How far behind the newest record", ["stream", "shard"])

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A record as it was read; `sequence` is its place in the shard."""

    sequence: str
    data: bytes


class Processor(Protocol):
    """What is done with one shard's records."""

    def process(self, records: Sequence[Record], pause: Pause) -> str | None:
        """Does with `records` (the next ones, in order; often none) what can be done now.

        Returns the sequence number up to which everything is done, or None when that hasn't changed. `pause` waits
        before another try, and is False when the shard is no longer ours: then `GaveUp` is to be raised.
        """


class Consumer:
    """Reads `stream`, with its positions in `table`; `make_processor()` is called for each shard that is taken."""

    def __init__(
        self,
        part: Part,
        stream: str,
        make_processor: Callable[[], Processor],
        lease_seconds: float,
    ) -> None:
        self._part = part
        self._stream = stream
        self._make_processor = make_processor
        self._me = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._table = LeaseTable(part.names.positions_table, stream, self._me)
        self._watch = Watch(lease_seconds)
        self._interval = lease_seconds / 4
        self._readers: dict[str, ShardReader] = {}

    def run(self) -> None:
        """Reads until a stop is asked for; then ends what is in hand and gives the shards back."""
        while not self._part.stop.requested:
            self._part.health.beat("leases")
            try:
                self._round()
                self._part.health.ready = True
            except TRANSIENT as error:
                self._part.health.ready = False
                log.warning("the leases can't be read", extra={"stream": self._stream, "error": str(error)})
            self._part.stop.wait(self._interval)
        for reader in self._readers.values():
            reader.join()

    def _round(self) -> None:
        self._readers = {shard: reader for shard, reader in self._readers.items() if reader.is_alive()}
        for reader in self._readers.values():
            reader.renew()
        shards = list_shards(self._stream)
        leases = self._table.read([shard.id for shard in shards])
        expired = self._watch.expired(list(leases.values()), time.monotonic())
        for shard in to_take(self._me, readable(shards, leases), leases, expired):
            if shard not in self._readers:
                self._take(shard, leases.get(shard))
        HELD.labels(self._stream).set(len(self._readers))

    def _take(self, shard: str, known: Lease | None) -> None:
        lease = self._table.take(shard, known)
        if lease is None:
            return
        log.info("took a shard", extra={"shard": shard, "position": lease.position, "of": known and known.owner})
        self._readers[shard] = ShardReader(self._part, self._stream, lease, self._table, self._make_processor())
        self._readers[shard].start()


def add_lease_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lease-seconds",
        type=_lease_seconds,
        default=LEASE_SECONDS,
        help=f"a replica without a sign of life for so long loses its shards (default {LEASE_SECONDS:g})",
    )


def _lease_seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"a lease holds from 1 to 3600 seconds, not {text}")
    return seconds


class ShardReader(threading.Thread):
    """Reads one shard from its lease's position on, as long as the lease is ours."""

    def __init__(self, part: Part, stream: str, lease: Lease, table: LeaseTable, processor: Processor) -> None:
        super().__init__(name=f"{stream}/{lease.shard}")
        self._part = part
        self._stream = stream
        self._shard = lease.shard
        self._table = table
        self._processor = processor
        self._done = self._wanted = self._read = lease.position
        self._lost = threading.Event()

    def renew(self) -> None:
        """Raises AWS errors."""
        if not self._table.renew(self._shard):
            log.warning("lost a shard", extra={"shard": self._shard})
            self._lost.set()

    def run(self) -> None:
        waits = pauses()
        while not self._ended:
            try:
                self._read_on()
                waits = pauses()
            except GaveUp as error:
                log.warning("gave up what was in hand", extra={"shard": self._shard, "error": str(error)})
                break
            except TRANSIENT as error:
                log.warning("the shard can't be read", extra={"shard": self._shard, "error": str(error)})
                self._part.stop.wait(next(waits))
            except Exception:
                log.exception("a reader broke: its shard is free again", extra={"shard": self._shard})
                break
        self._part.health.ended(self.name)
        self._release()

    @property
    def _ended(self) -> bool:
        return self._part.stop.requested or self._lost.is_set() or self._done == SHARD_END

    def _read_on(self) -> None:
        """Reads with one iterator, as long as that lasts: it expires after five minutes, and then AWS errs."""
        iterator = self._iterator()
        while iterator and not self._ended:
            self._part.health.beat(self.name)
            began = time.monotonic()
            answer = aws.client("kinesis").get_records(ShardIterator=iterator, Limit=READ_RECORDS)
            BEHIND.labels(self._stream, self._shard).set(answer.get("MillisBehindLatest", 0) / 1000)
            self._hand_over([Record(item["SequenceNumber"], item["Data"]) for item in answer["Records"]])
            iterator = answer.get("NextShardIterator")
            self._part.stop.wait(began + READ_INTERVAL - time.monotonic())
        if not iterator:
            self._end()

    def _hand_over(self, records: Sequence[Record]) -> None:
        done = self._processor.process(records, self._pause)
        if records:
            self._read = records[-1].sequence
        self._wanted = done or self._wanted
        if self._wanted and self._wanted != self._done:
            self._checkpoint(self._wanted)

    def _end(self) -> None:
        """A closed shard was read to its end; it ends when nothing of it waits any more."""
        while self._done != self._read and not self._ended:
            self._part.health.beat(self.name)
            self._hand_over([])
            self._part.stop.wait(READ_INTERVAL)
        if not self._ended:
            self._checkpoint(SHARD_END)

    def _checkpoint(self, position: str) -> None:
        if self._table.checkpoint(self._shard, position):
            self._done = position
        else:
            self._lost.set()

    def _iterator(self) -> str | None:
        """An iterator after what was handed over; None when the shard is no more."""
        after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._read}
        start: dict[str, Any] = after if self._read else {"ShardIteratorType": "TRIM_HORIZON"}
        try:
            answer = aws.client("kinesis").get_shard_iterator(StreamName=self._stream, ShardId=self._shard, **start)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            log.warning("the shard is no more", extra={"shard": self._shard})
            self._lost.set()
            return None
        iterator: str = answer["ShardIterator"]
        return iterator

    def _pause(self, seconds: float) -> bool:
        self._part.health.beat(self.name)
        return not self._lost.is_set() and self._part.stop.pause(seconds)

    def _release(self) -> None:
        try:
            self._table.release(self._shard)
        except TRANSIENT as error:
            log.warning("the lease will expire by itself", extra={"shard": self._shard, "error": str(error)})


def list_shards(stream: str) -> list[Shard]:
    """The stream's shards. Raises AWS errors."""
    pages = aws.client("kinesis").get_paginator("list_shards").paginate(StreamName=stream)
    return [
        Shard(item["ShardId"], tuple(item[key] for key in ("ParentShardId", "AdjacentParentShardId") if key in item))
        for page in pages
        for item in page["Shards"]
    ]
