"""What the running job says of itself, from its Prometheus metrics.

Counters begin at 0 with each start of the job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import requests
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT = 5
_OPERATOR = "flink_taskmanager_job_task_operator_"
_JOB = "flink_jobmanager_job_"


@dataclass(frozen=True)
class FlinkMetrics:
    """`records_in` events were read, `records_out` minutes and `late` events written; `dropped` must stay 0.

    `restarts` are those within the JVM; `watermark` is in ms since the epoch, `behind` in ms behind the stream's end;
    `last_checkpoint` is its number. What isn't known yet is None.
    """

    records_in: int
    records_out: int
    late: int
    dropped: int
    restarts: int
    watermark: int | None
    behind: int | None
    last_checkpoint: int | None


def read(port: int) -> FlinkMetrics:
    """The metrics of the job whose reporter listens on `port` of this machine. Raises `requests.RequestException`."""
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT)
    answer.raise_for_status()
    return parse(answer.text)


def parse(text: str) -> FlinkMetrics:
    """The metrics in Prometheus's text form; an operator's name begins with its table's or its kind's."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def values(name: str, operator: str = "") -> list[int]:
        return [
            int(sample.value)
            for sample in samples
            if sample.name == name and sample.labels.get("operator_name", "").startswith(operator)
        ]

    def known(combine: Callable[[list[int]], int], found: list[int]) -> int | None:
        sound = [value for value in found if value >= 0]
        return combine(sound) if sound else None

    return FlinkMetrics(
        records_in=sum(values(f"{_OPERATOR}numRecordsOut", "Source:_events")),
        records_out=sum(values(f"{_OPERATOR}numRecordsSend", "minutes")),
        late=sum(values(f"{_OPERATOR}numRecordsSend", "late")),
        dropped=sum(values(f"{_OPERATOR}numLateRecordsDropped")),
        restarts=sum(values(f"{_JOB}numRestarts")),
        watermark=known(min, values(f"{_OPERATOR}currentInputWatermark", "WindowAggregate")),
        behind=known(max, values(f"{_OPERATOR}KinesisConsumer_stream_shardId_millisBehindLatest")),
        last_checkpoint=known(max, values(f"{_JOB}lastCompletedCheckpointId")),
    )
