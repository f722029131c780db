"""Kinesis's data plane on the record log; streams and shards themselves stay ministack's.

What differs from ministack's own: records outlive the process, iterators address sequence numbers (an index shifts when
old records expire) and take no memory, an answer holds at most 10 MB, and the CBOR answers of the Java SDK have binary
data and timestamps in milliseconds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import cbor2

from local.aws.record_log import NewRecord, Record, RecordLog

Answer = tuple[int, dict[str, str], bytes]

_FIRST = 4957 * 10**52
"""Sequence numbers have 56 digits, as on AWS, so that they also compare as text."""
_ITERATOR_SECONDS = 300
_MOST_RECORDS_PUT = 500
_MOST_BYTES_PUT = 5 * 2**20
_MOST_BYTES_RECORD = 2**20
_MOST_RECORDS_READ = 10_000
_MOST_BYTES_READ = 10 * 2**20
_CBOR = "application/x-amz-cbor-1.1"
_JSON = "application/x-amz-json-1.1"
_LACKING = frozenset({"SubscribeToShard", "SplitShard", "MergeShards", "UpdateShardCount"})


class Refused(Exception):
    """An answer of Kinesis's that is an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Kinesis:
    """Answers PutRecord, PutRecords, GetShardIterator and GetRecords from `log`, the rest from `ministack`'s module."""

    def __init__(self, ministack: Any, log: RecordLog) -> None:
        self._ministack, self._log = ministack, log
        self._others = ministack.handle_request
        self._operations: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "PutRecord": self._put_record,
            "PutRecords": self._put_records,
            "GetShardIterator": self._get_shard_iterator,
            "GetRecords": self._get_records,
        }
        # A shard's first sequence number comes from the same sequence as its records'.
        ministack._next_sequence_number = lambda: sequence_text(log.next_sequence())
        ministack.put_record_internal = self._put_from_a_service

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        as_cbor = "cbor" in headers.get("content-type", "")
        if action in _LACKING:
            return _encode_error(Refused("NotImplemented", f"local.aws lacks Kinesis's {action}."), as_cbor)
        if action in self._operations:
            return await asyncio.to_thread(self._answer, self._operations[action], body, as_cbor)
        deleted = self._stream_arn(_decode(body, as_cbor)) if action == "DeleteStream" else None
        answer: Answer = await self._others(method, path, headers, body, query)
        if deleted and answer[0] == 200:
            await asyncio.to_thread(self._log.forget, deleted)
        return answer

    def expire(self) -> None:
        """Drops the records that are older than their stream's retention."""
        for _, stream in list(self._ministack._streams.all_items()):
            self._log.drop_older(stream["StreamARN"], time.time() - stream["RetentionPeriodHours"] * 3600)

    def _answer(self, operation: Callable[[dict[str, Any]], dict[str, Any]], body: bytes, as_cbor: bool) -> Answer:
        try:
            timed = as_cbor and operation == self._get_shard_iterator
            return _encode(operation(_in_seconds(body) if timed else _decode(body, as_cbor)), as_cbor)
        except Refused as error:
            return _encode_error(error, as_cbor)

    def _put_record(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._append(self._stream(request), [request])[0]

    def _put_records(self, request: dict[str, Any]) -> dict[str, Any]:
        stream, entries = self._stream(request), request.get("Records", [])
        if not 1 <= len(entries) <= _MOST_RECORDS_PUT:
            raise Refused(
                "ValidationException",
                "1 validation error detected: Value at 'records' failed to satisfy constraint: "
                f"Member must have length between 1 and {_MOST_RECORDS_PUT}",
            )
        if sum(len(entry["Data"]) + len(entry["PartitionKey"].encode()) for entry in entries) > _MOST_BYTES_PUT:
            raise Refused("InvalidArgumentException", "Records size exceeds 5 MB limit")
        return {"FailedRecordCount": 0, "Records": self._append(stream, entries), "EncryptionType": "NONE"}

    def _append(self, stream: dict[str, Any], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        records = [NewRecord(self._shard_of(stream, entry), entry["PartitionKey"], entry["Data"]) for entry in entries]
        if any(len(record.data) > _MOST_BYTES_RECORD for record in records):
            raise Refused("ValidationException", f"A record's data is above {_MOST_BYTES_RECORD} bytes")
        sequences = self._log.append(stream["StreamARN"], records)
        return [
            {"ShardId": record.shard, "SequenceNumber": sequence_text(sequence), "EncryptionType": "NONE"}
            for record, sequence in zip(records, sequences, strict=True)
        ]

    def _put_from_a_service(self, stream_arn: str, partition_key: str, data: bytes) -> bool:
        stream = self._ministack._resolve_stream_by_arn(stream_arn)
        if stream is not None:
            self._append(stream, [{"PartitionKey": partition_key, "Data": data}])
        return stream is not None

    def _shard_of(self, stream: dict[str, Any], entry: dict[str, Any]) -> str:
        explicit = entry.get("ExplicitHashKey")
        place = int(explicit) if explicit else self._ministack._partition_key_to_hash(entry["PartitionKey"])
        return str(self._ministack._route_to_shard(place, stream))

    def _get_shard_iterator(self, request: dict[str, Any]) -> dict[str, Any]:
        stream, shard = self._stream(request), request["ShardId"]
        if shard not in stream["shards"]:
            raise Refused("ResourceNotFoundException", f"Shard {shard} in stream {stream['StreamName']} not found")
        first = sequence_number(stream["shards"][shard]["starting_sequence_number"])
        start = max(first, self._start(stream["StreamARN"], shard, request))
        return {"ShardIterator": _iterator(stream["StreamARN"], shard, start)}

    def _start(self, arn: str, shard: str, request: dict[str, Any]) -> int:
        match request["ShardIteratorType"]:
            case "TRIM_HORIZON":
                return 0
            case "LATEST":
                return self._log.next_sequence()
            case "AT_SEQUENCE_NUMBER":
                return sequence_number(request["StartingSequenceNumber"])
            case "AFTER_SEQUENCE_NUMBER":
                return sequence_number(request["StartingSequenceNumber"]) + 1
            case "AT_TIMESTAMP":
                return self._log.first_since(arn, shard, request["Timestamp"])
            case other:
                raise Refused("InvalidArgumentException", f"Invalid ShardIteratorType: {other}")

    def _get_records(self, request: dict[str, Any]) -> dict[str, Any]:
        arn, shard, start = _read_iterator(request["ShardIterator"])
        stream = self._ministack._resolve_stream_by_arn(arn)
        if stream is None or shard not in stream["shards"]:
            raise Refused("ResourceNotFoundException", f"{shard} of {arn} not found")
        limit = min(request.get("Limit", _MOST_RECORDS_READ), _MOST_RECORDS_READ)
        records = self._log.read(arn, shard, start, limit, _MOST_BYTES_READ)
        end = records[-1].sequence + 1 if records else start
        waiting = self._log.arrival_from(arn, shard, end) if records else None
        return {
            "Records": [_record(record) for record in records],
            "NextShardIterator": _iterator(arn, shard, end),
            "MillisBehindLatest": int((time.time() - waiting) * 1000) if waiting else 0,
        }

    def _stream(self, request: dict[str, Any]) -> dict[str, Any]:
        name, stream = self._ministack._resolve_stream(request)
        if stream is None:
            raise Refused("ResourceNotFoundException", f"Stream {name} not found.")
        found: dict[str, Any] = stream
        return found

    def _stream_arn(self, request: dict[str, Any]) -> str | None:
        _, stream = self._ministack._resolve_stream(request)
        return stream["StreamARN"] if stream else None


def sequence_text(sequence: int) -> str:
    """A sequence number of the log, as Kinesis writes it."""
    return str(_FIRST + sequence)


def sequence_number(text: str) -> int:
    """A sequence number of Kinesis's, as the log counts; refused when it isn't a number."""
    try:
        return int(text) - _FIRST
    except ValueError as error:
        raise Refused("InvalidArgumentException", f"Invalid sequence number: {text}") from error


def _iterator(arn: str, shard: str, start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([arn, shard, start, time.time()]).encode()).decode()


def _read_iterator(text: str) -> tuple[str, str, int]:
    try:
        arn, shard, start, made = json.loads(base64.urlsafe_b64decode(text))
    except (binascii.Error, ValueError) as error:
        raise Refused("InvalidArgumentException", "Invalid ShardIterator.") from error
    if time.time() - made > _ITERATOR_SECONDS:
        raise Refused("ExpiredIteratorException", f"Iterator expired: it is more than {_ITERATOR_SECONDS} s old.")
    return arn, shard, start


def _record(record: Record) -> dict[str, Any]:
    return {
        "SequenceNumber": sequence_text(record.sequence),
        "ApproximateArrivalTimestamp": record.arrival,
        "Data": record.data,
        "PartitionKey": record.partition_key,
        "EncryptionType": "NONE",
    }


def _decode(body: bytes, as_cbor: bool) -> dict[str, Any]:
    if as_cbor:
        return dict(cbor2.loads(body))
    request: dict[str, Any] = json.loads(body)
    for entry in [request, *request.get("Records", [])]:
        if "Data" in entry:
            entry["Data"] = base64.b64decode(entry["Data"])
    return request


def _in_seconds(body: bytes) -> dict[str, Any]:
    """A CBOR request with a timestamp: AWS tags milliseconds as CBOR tags seconds, which no library reads as a date.

    The tag's byte, 0xC1, is in no UTF-8 text, and this request has no binary data.
    """
    request = dict(cbor2.loads(body.replace(b"\xc1\x1b", b"\x1b")))
    if "Timestamp" in request:
        request["Timestamp"] /= 1000
    return request


def _encode(answer: dict[str, Any], as_cbor: bool) -> Answer:
    for record in answer.get("Records", []):
        if "Data" in record and not as_cbor:
            record["Data"] = base64.b64encode(record["Data"]).decode()
        elif "Data" in record:
            record["ApproximateArrivalTimestamp"] = int(record["ApproximateArrivalTimestamp"] * 1000)
    if as_cbor:
        return 200, {"Content-Type": _CBOR}, cbor2.dumps(answer)
    return 200, {"Content-Type": _JSON}, json.dumps(answer).encode()


def _encode_error(error: Refused, as_cbor: bool) -> Answer:
    content = {"__type": error.code, "message": str(error)}
    body = cbor2.dumps(content) if as_cbor else json.dumps(content).encode()
    return 400, {"Content-Type": _CBOR if as_cbor else _JSON, "x-amzn-errortype": error.code}, body
