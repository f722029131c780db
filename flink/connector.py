"""The Kinesis connector's options, all in one place: another connector is another version of this file.

Written for `flink-connector-kinesis` 4.3, whose source polls: AWS allows five reads a second and shard, shared by all
that read the stream, so that four are taken here and one is left for the archive's delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHARD_COLUMN = "shard STRING METADATA FROM 'shard-id' VIRTUAL"
"""The column that says which shard a record came from."""


@dataclass(frozen=True)
class Kinesis:
    """Where the streams are: `endpoint` is None for the region's own."""

    region: str
    endpoint: str | None = None

    def source(self, stream: str) -> Mapping[str, str]:
        """Reads `stream` from its beginning, or where the checkpoint left off; what isn't JSON is left out."""
        return self._stream(stream) | {
            "scan.stream.initpos": "TRIM_HORIZON",
            "scan.shard-assigner": "uniform",
            "scan.shard.discovery.intervalmillis": "10000",
            "scan.shard.getrecords.intervalmillis": "250",
            "scan.shard.getrecords.maxretries": "10",
            "json.ignore-parse-errors": "true",
        }

    def sink(self, stream: str) -> Mapping[str, str]:
        """Writes to `stream` at least once, at most 200 ms after a row came."""
        return self._stream(stream) | {
            "sink.flush-buffer.timeout": "200",
            "sink.http-client.protocol.version": "HTTP1_1",
        }

    def _stream(self, stream: str) -> dict[str, str]:
        endpoint = {"aws.endpoint": self.endpoint} if self.endpoint else {}
        return {"connector": "kinesis", "stream": stream, "aws.region": self.region, **endpoint, "format": "json"}
