"""What the job's Prometheus metrics come to; test_job reads those of a running job."""

from __future__ import annotations

from flink.metrics import FlinkMetrics, parse

RUNNING = """# HELP flink_taskmanager_job_task_operator_numRecordsOut numRecordsOut
# TYPE flink_taskmanager_job_task_operator_numRecordsOut gauge
flink_taskmanager_job_task_operator_numRecordsOut{operator_name="Source:_events_1_",subtask_index="0",} 400.0
flink_taskmanager_job_task_operator_numRecordsOut{operator_name="Source:_events_1_",subtask_index="1",} 203.0
flink_taskmanager_job_task_operator_numRecordsOut{operator_name="Deduplicate_9_",subtask_index="0",} 600.0
# TYPE flink_taskmanager_job_task_operator_numRecordsSend gauge
flink_taskmanager_job_task_operator_numRecordsSend{operator_name="minutes_15_:_Writer",} 9.0
flink_taskmanager_job_task_operator_numRecordsSend{operator_name="late_17_:_Writer",} 2.0
# TYPE flink_taskmanager_job_task_operator_numLateRecordsDropped gauge
flink_taskmanager_job_task_operator_numLateRecordsDropped{operator_name="WindowAggregate_13_",} 0.0
# TYPE flink_taskmanager_job_task_operator_currentInputWatermark gauge
flink_taskmanager_job_task_operator_currentInputWatermark{operator_name="WindowAggregate_13_",} 1.76E12
flink_taskmanager_job_task_operator_currentInputWatermark{operator_name="Deduplicate_9_",} 1.77E12
# TYPE flink_taskmanager_job_task_operator_KinesisConsumer_stream_shardId_millisBehindLatest gauge
flink_taskmanager_job_task_operator_KinesisConsumer_stream_shardId_millisBehindLatest{shardId="0",} 0.0
flink_taskmanager_job_task_operator_KinesisConsumer_stream_shardId_millisBehindLatest{shardId="1",} 1200.0
# TYPE flink_jobmanager_job_numRestarts gauge
flink_jobmanager_job_numRestarts{job_name="loopcast_bitcoin_fees",} 1.0
# TYPE flink_jobmanager_job_lastCompletedCheckpointId gauge
flink_jobmanager_job_lastCompletedCheckpointId{job_name="loopcast_bitcoin_fees",} 14.0
"""
STARTING = """# TYPE flink_taskmanager_job_task_operator_currentInputWatermark gauge
flink_taskmanager_job_task_operator_currentInputWatermark{operator_name="WindowAggregate_13_",} -9.223372036854776E18
# TYPE flink_jobmanager_job_lastCompletedCheckpointId gauge
flink_jobmanager_job_lastCompletedCheckpointId{job_name="loopcast_bitcoin_fees",} -1.0
"""


def test_counters_are_summed_over_subtasks_and_the_furthest_behind_shard_counts() -> None:
    assert parse(RUNNING) == FlinkMetrics(
        records_in=603,
        records_out=9,
        late=2,
        dropped=0,
        restarts=1,
        watermark=1_760_000_000_000,
        behind=1200,
        last_checkpoint=14,
    )


def test_what_a_starting_job_does_not_know_yet_is_none() -> None:
    assert parse(STARTING) == FlinkMetrics(0, 0, 0, 0, 0, watermark=None, behind=None, last_checkpoint=None)
