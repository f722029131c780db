"""The two jobs that `bench.flink` measures; runs in PyFlink's environment and prints {"seconds": ...}."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pyflink.common import Encoder, RestartStrategies
from pyflink.common.watermark_strategy import WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat

from flink import plain_window, sql
from flink.job import plan
from loopcast.clock import Clock
from loopcast.feed import Feed, load_feed

CLOCK = Clock()


def sql_job(feed: Feed, source: Path, target: Path) -> StreamExecutionEnvironment:
    """The SQL job from and to files."""
    reads = {"connector": "filesystem", "path": source.as_uri(), "format": "json", "json.ignore-parse-errors": "true"}
    definitions = (
        sql.events_table(feed, CLOCK, reads, "shard AS 'the only one'"),
        *sql.views(feed, CLOCK),
        sql.minutes_table(feed, {"connector": "filesystem", "path": target.as_uri(), "format": "json"}),
        sql.late_table({"connector": "blackhole"}).replace(" PARTITIONED BY (series_id)", ""),
    )
    inserts = (sql.insert_minutes(feed), sql.insert_late(feed))
    return plan(sql.Job(sql.settings(feed, CLOCK), definitions, inserts), 1)


def plain_job(feed: Feed, source: Path, target: Path) -> StreamExecutionEnvironment:
    """The plain Python window function from and to files."""
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.set_parallelism(1)
    files = FileSource.for_record_stream_format(StreamFormat.text_line_format(), source.as_uri()).build()
    lines = environment.from_source(files, WatermarkStrategy.no_watermarks(), "events")
    sink = FileSink.for_row_format(target.as_uri(), Encoder.simple_string_encoder()).build()
    plain_window.minutes(lines, feed, CLOCK.lateness(feed.window.lateness)).sink_to(sink)
    return environment


JOBS = {"sql": sql_job, "plain": plain_job}


def main() -> None:
    """Runs one job over files of events and prints how long it ran."""
    parser = argparse.ArgumentParser(prog="python -m bench.flink_jobs", description=main.__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--feed", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    environment = JOBS[arguments.job](load_feed(arguments.feed), arguments.input, arguments.output)
    environment.set_python_executable(sys.executable)
    environment.set_restart_strategy(RestartStrategies.no_restart())
    environment.enable_checkpointing(2000)  # files are finished with a checkpoint
    environment.get_checkpoint_config().set_checkpoint_storage_dir((arguments.output.parent / "checkpoints").as_uri())
    result = environment.execute(f"bench-{arguments.job}")
    print(json.dumps({"seconds": result.get_net_runtime() / 1000}))


if __name__ == "__main__":
    main()
