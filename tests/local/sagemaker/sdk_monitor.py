"""What a user of the sagemaker SDK writes who monitors a model: schedules the built-in monitor and reads what it found.

Run by a test in the SDK's own environment; knows of no local server. Writes what it has found into a file, as JSON.
"""

import json
import sys
import time
from pathlib import Path

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.model_monitor import (
    BatchTransformInput,
    CronExpressionGenerator,
    ModelQualityMonitor,
    MonitoringDatasetFormat,
)
from sagemaker.core.resources import ModelQualityJobDefinition, MonitoringSchedule


def main(bucket: str, name: str, role: str, found_file: str) -> None:
    monitor = ModelQualityMonitor(
        role=role, sagemaker_session=Session(default_bucket=bucket), max_runtime_in_seconds=600
    )
    data = BatchTransformInput(
        data_captured_destination_s3_uri=f"s3://{bucket}/{name}/predictions",
        destination="/opt/ml/processing/input_data",
        dataset_format=MonitoringDatasetFormat.json(lines=True),
        inference_attribute="0",
    )
    monitor.create_monitoring_schedule(
        batch_transform_input=data,
        ground_truth_input=f"s3://{bucket}/{name}/truth",
        problem_type="Regression",
        output_s3_uri=f"s3://{bucket}/{name}/reports",
        constraints=f"s3://{bucket}/{name}/constraints.json",
        monitor_schedule_name=name,
        schedule_cron_expression=CronExpressionGenerator.now(),
        data_analysis_start_time="-PT1H",
        data_analysis_end_time="-PT0H",
    )
    schedule = _over(name)
    execution = monitor.list_executions()[-1]
    said = {
        "status": schedule.last_monitoring_execution_summary.monitoring_execution_status,
        "listed": [one.monitoring_schedule_name for one in MonitoringSchedule.get_all(name_contains=name)],
        "definition": ModelQualityJobDefinition.get(monitor.job_definition_name).role_arn == role,
        "rmse": execution.statistics().body_dict["regression_metrics"]["rmse"]["value"],
        "violated": [one["metric_name"] for one in execution.constraint_violations().body_dict["violations"]],
    }
    monitor.delete_monitoring_schedule()
    Path(found_file).write_text(json.dumps(said))


def _over(name: str) -> MonitoringSchedule:
    while True:
        schedule = MonitoringSchedule.get(name)
        last = schedule.last_monitoring_execution_summary
        if getattr(last, "monitoring_execution_status", None) in ("Completed", "CompletedWithViolations", "Failed"):
            return schedule
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
