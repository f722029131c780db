"""Firehose's delivery to S3: records gather by size and time into one gzip object, at least once.

ministack keeps the delivery streams (create, describe, update, delete) but writes an object a record. Here a delivery
stream reads the record log, its own Kinesis stream or its direct puts, from a position that is stored after the object:
whatever is killed when, it goes on without a gap.
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from prometheus_client import Counter

from local.aws.record_log import NewRecord, Record, RecordLog
from local.aws.services import Services
from loopcast.clock import Clock

Answer = tuple[int, dict[str, str], bytes]

_TICK = 0.2
_SHORTEST_WAIT = 1.0
_RETRY_AFTER = 5.0
_READ_RECORDS = 5_000
_MOST_RECORDS_PUT = 500
_MOST_BYTES_PUT = 4 * 2**20
_MOST_BYTES_RECORD = 1_000 * 2**10
_DIRECT = "direct"
_DELIMITER = "AppendDelimiterToRecord"
_DEFAULT_HINTS = {"SizeInMBs": 5, "IntervalInSeconds": 300}

log = logging.getLogger(__name__)
_RECORDS = Counter("aws_firehose_records", "Records delivered to S3", ["delivery_stream"])
_OBJECTS = Counter("aws_firehose_objects", "Objects that hold them", ["delivery_stream"])


@dataclass
class Buffer:
    """What a delivery stream has read and not yet delivered; `positions` is where it goes on, by shard."""

    positions: dict[str, int] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    size: int = 0

    def add(self, shard: str, records: list[Record]) -> None:
        if records:
            self.records += records
            self.size += sum(len(record.data) for record in records)
            self.positions[shard] = records[-1].sequence + 1


@dataclass(frozen=True)
class Delivery:
    """One delivery stream to S3, as ministack describes it."""

    account: str
    region: str
    stream: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.stream["name"])

    @property
    def reader(self) -> str:
        """Whose positions these are: a stream that is made again under the same name begins anew."""
        return f"{self.stream['arn']}@{self.stream['created_at']}"

    @property
    def settings(self) -> Mapping[str, Any]:
        settings: Mapping[str, Any] = self.stream["destinations"][0]["config"]
        return settings

    @property
    def source(self) -> str:
        """The stream of the log that this reads: a Kinesis stream's, or that of its own direct puts."""
        kinesis = self.stream.get("kinesis_source")
        return str(kinesis["KinesisStreamARN"]) if kinesis else self.reader

    @property
    def bucket(self) -> str:
        return str(self.settings["BucketARN"]).rpartition(":")[2]

    @property
    def size(self) -> int:
        return int(self._hint("SizeInMBs") * 2**20)

    def interval(self, clock: Clock) -> float:
        """How many seconds of wall time records wait for more."""
        return max(_SHORTEST_WAIT, clock.wall(self._hint("IntervalInSeconds")))

    def is_due(self, buffer: Buffer, now: float, clock: Clock) -> bool:
        if not buffer.records:
            return False
        oldest = min(record.arrival for record in buffer.records)
        return buffer.size >= self.size or now - oldest >= self.interval(clock)

    @property
    def delimiter(self) -> bytes:
        """What follows each record: as on AWS nothing, unless a processor says so."""
        processing = self.settings.get("ProcessingConfiguration") or {}
        for processor in (processing.get("Processors") or []) if processing.get("Enabled") else []:
            if processor["Type"] == _DELIMITER:
                values = {item["ParameterName"]: item["ParameterValue"] for item in processor.get("Parameters") or []}
                return str(values.get("Delimiter", "\\n")).replace("\\n", "\n").encode()
        return b""

    def body(self, records: Iterable[Record]) -> bytes:
        joined = b"".join(record.data + self.delimiter for record in records)
        return gzip.compress(joined, compresslevel=1) if self._compressed else joined

    def object_name(self, oldest: float) -> str:
        """The name's part after the prefix, for an object whose oldest record came at `oldest`."""
        moment = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(oldest))
        extension = self.settings.get("FileExtension") or (".gz" if self._compressed else "")
        return f"{self.name}-{self.stream['version']}-{moment}-{uuid.uuid4()}{extension}"

    @property
    def _compressed(self) -> bool:
        return self.settings.get("CompressionFormat") == "GZIP"

    def _hint(self, name: str) -> float:
        hints = self.settings.get("BufferingHints") or {}
        return float(hints.get(name, _DEFAULT_HINTS[name]))


class Firehose:
    """Delivers, in a thread of its own, what ministack's delivery streams to S3 have to."""

    def __init__(self, services: Services, records: RecordLog, clock: Clock) -> None:
        self._services, self._log, self._clock = services, records, clock
        self._buffers: dict[str, Buffer] = {}
        self._not_before: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="firehose", daemon=True)
        firehose = services.firehose
        self._create, self._put = firehose._create_delivery_stream, firehose._put_record_batch
        # Records come from the log: ministack must neither deliver nor hold them.
        firehose.ingest_from_kinesis_source = lambda stream_arn, records: None
        firehose._HANDLERS |= {
            "CreateDeliveryStream": self._create_delivery_stream,
            "PutRecord": self._put_record,
            "PutRecordBatch": self._put_record_batch,
        }

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the delivery; what is in the buffers is read again from its position."""
        self._stop.set()
        self._thread.join()

    def _create_delivery_stream(self, request: dict[str, Any]) -> Answer:
        settings = request.get("ExtendedS3DestinationConfiguration") or request.get("S3DestinationConfiguration") or {}
        lacking = lacking_feature(settings)
        if lacking:
            return _error("InvalidArgumentException", f"local.aws lacks Firehose's {lacking}.")
        answer: Answer = self._create(request)
        return answer

    def _put_record(self, request: dict[str, Any]) -> Answer:
        answer = self._put_record_batch(request | {"Records": [request["Record"]]})
        if answer[0] != 200:
            return answer
        return _json({"RecordId": json.loads(answer[2])["RequestResponses"][0]["RecordId"], "Encrypted": False})

    def _put_record_batch(self, request: dict[str, Any]) -> Answer:
        delivery = self._delivery_named(request["DeliveryStreamName"])
        if delivery is None:
            answer: Answer = self._put(request)
            return answer
        data = [base64.b64decode(record["Data"]) for record in request["Records"]]
        if len(data) > _MOST_RECORDS_PUT or sum(map(len, data)) > _MOST_BYTES_PUT:
            return _error("InvalidArgumentException", "A batch has at most 500 records and 4 MiB.")
        if any(len(item) > _MOST_BYTES_RECORD for item in data):
            return _error("InvalidArgumentException", "A record has at most 1,000 KiB.")
        sequences = self._log.append(delivery.source, [NewRecord(_DIRECT, "", item) for item in data])
        self._count(delivery, "Incoming", len(data), sum(map(len, data)))
        answers = [{"RecordId": str(sequence), "Encrypted": False} for sequence in sequences]
        return _json({"FailedPutCount": 0, "Encrypted": False, "RequestResponses": answers})

    def _delivery_named(self, name: str) -> Delivery | None:
        """The delivery stream `name` of the caller's, if it is one to S3 that takes direct puts."""
        stream = self._services.firehose._streams.get(name)
        if stream is None or stream.get("kinesis_source") or not _is_to_s3(stream):
            return None
        return Delivery(get_account_id(), get_region(), stream)

    def _run(self) -> None:
        while not self._stop.wait(_TICK):
            for delivery in self._deliveries():
                try:
                    with request_scope(delivery.account, delivery.region):
                        self._advance(delivery)
                except Exception:
                    log.exception("a delivery failed; it is tried again", extra={"delivery_stream": delivery.name})
                    self._buffers.pop(delivery.reader, None)
                    self._not_before[delivery.reader] = time.monotonic() + _RETRY_AFTER

    def _deliveries(self) -> list[Delivery]:
        streams = [
            Delivery(account, region, stream)
            for (account, region, _), stream in list(self._services.firehose._streams.all_items())
            if _is_to_s3(stream)
        ]
        readers = {delivery.reader for delivery in streams}
        self._buffers = {reader: buffer for reader, buffer in self._buffers.items() if reader in readers}
        return [stream for stream in streams if time.monotonic() >= self._not_before.get(stream.reader, 0)]

    def _advance(self, delivery: Delivery) -> None:
        """Reads what has come, and delivers as often as a buffer is full or has waited long enough."""
        while True:
            buffer = self._buffers.setdefault(delivery.reader, Buffer())
            self._fill(delivery, buffer)
            if self._stop.is_set() or not delivery.is_due(buffer, time.time(), self._clock):
                return
            self._deliver(delivery, buffer)
            del self._buffers[delivery.reader]

    def _fill(self, delivery: Delivery, buffer: Buffer) -> None:
        for shard in self._shards(delivery):
            if shard not in buffer.positions:
                buffer.positions[shard] = self._position(delivery, shard)
            while buffer.size < delivery.size:
                start, room = buffer.positions[shard], delivery.size - buffer.size
                records = self._log.read(delivery.source, shard, start, _READ_RECORDS, room)
                if not records:
                    break
                buffer.add(shard, records)

    def _shards(self, delivery: Delivery) -> list[str]:
        if not delivery.stream.get("kinesis_source"):
            return [_DIRECT]
        stream = self._services.kinesis._resolve_stream_by_arn(delivery.source)
        return list(stream["shards"]) if stream else []

    def _position(self, delivery: Delivery, shard: str) -> int:
        stored = self._log.position(delivery.reader, delivery.source, shard)
        if stored is not None:
            return stored
        kinesis = delivery.stream.get("kinesis_source")
        return self._log.first_since(delivery.source, shard, kinesis["DeliveryStartTimestamp"]) if kinesis else 0

    def _deliver(self, delivery: Delivery, buffer: Buffer) -> None:
        oldest = min(record.arrival for record in buffer.records)
        prefix = self._services.firehose._evaluate_prefix(delivery.settings.get("Prefix", ""), time.gmtime(oldest))
        self._services.put_object(delivery.bucket, prefix + delivery.object_name(oldest), delivery.body(buffer.records))
        # Only now: a kill before this line delivers the records once more, none after it is lost.
        self._log.set_positions(delivery.reader, delivery.source, buffer.positions)
        if not delivery.stream.get("kinesis_source"):
            self._log.drop_before(delivery.source, _DIRECT, buffer.positions[_DIRECT])
        else:
            self._count(delivery, "DataReadFromKinesisStream.", len(buffer.records), buffer.size)
        self._count(delivery, "DeliveryToS3.", len(buffer.records), buffer.size)
        _RECORDS.labels(delivery.name).inc(len(buffer.records))
        _OBJECTS.labels(delivery.name).inc()

    def _count(self, delivery: Delivery, prefix: str, records: int, size: int) -> None:
        dimensions = {"DeliveryStreamName": delivery.name}
        for name, value, unit in (("Records", records, "Count"), ("Bytes", size, "Bytes")):
            self._services.record_metric("AWS/Firehose", prefix + name, value, unit, dimensions)


def lacking_feature(settings: Mapping[str, Any]) -> str | None:
    """What the S3 destination `settings` ask for that is done here neither by us nor by ministack."""
    processing = settings.get("ProcessingConfiguration") or {}
    processors = [processor["Type"] for processor in processing.get("Processors") or [] if processing.get("Enabled")]
    for switch in ("DynamicPartitioningConfiguration", "DataFormatConversionConfiguration"):
        if (settings.get(switch) or {}).get("Enabled"):
            return switch
    compression = settings.get("CompressionFormat", "UNCOMPRESSED")
    if compression not in ("UNCOMPRESSED", "GZIP"):
        return f"CompressionFormat {compression}"
    return next((f"processor {name}" for name in processors if name != _DELIMITER), None)


def _is_to_s3(stream: Mapping[str, Any]) -> bool:
    destinations = stream["destinations"]
    return bool(destinations) and destinations[0]["type"] in ("ExtendedS3", "S3")


def _json(content: Mapping[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(content).encode()


def _error(code: str, message: str) -> Answer:
    content = {"__type": code, "message": message}
    return 400, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, json.dumps(content).encode()
