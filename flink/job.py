"""The client of the job: `flink run -py flink/job.py` runs it in PyFlink's environment, and it stays till the job ends.

Everything but its planning happens in the JVM. In a cluster of the job's own it ends once the job is handed over.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink.connector import Kinesis
from flink.sql import Job, Streams, kinesis_job
from loopcast.clock import Clock
from loopcast.feed import load_feed


def main() -> None:
    """Plans the feed's job and runs it."""
    arguments = _arguments()
    feed = load_feed(arguments.feed)
    streams = Streams(arguments.events_stream, arguments.minutes_stream, arguments.late_stream)
    kinesis = Kinesis(
        arguments.region, os.environ.get("AWS_ENDPOINT_URL_KINESIS") or os.environ.get("AWS_ENDPOINT_URL")
    )
    job = kinesis_job(feed, streams, kinesis, Clock(arguments.speed))
    environment, name = plan(job, arguments.max_shards), f"loopcast-{feed.name}"
    if arguments.detached:
        environment.execute_async(name)
    else:
        environment.execute(name)


def plan(job: Job, source_parallelism: int) -> StreamExecutionEnvironment:
    """The environment with `job` in it, ready to execute.

    A source has a subtask for each shard, since watermarks are kept by subtask. All that follows has one, so that each
    operator has one input channel: then what judges whether an event is late and the window that would drop it see the
    same watermarks in the same order.
    """
    configuration = Configuration()
    for key, value in job.settings.items():
        configuration.set_string(key, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(source_parallelism)  # a source takes it when it is translated
    tables = StreamTableEnvironment.create(environment)
    for definition in job.definitions:
        tables.execute_sql(definition)
    statements = tables.create_statement_set()
    for insert in job.inserts:
        statements.add_insert_sql(insert)
    statements.attach_as_datastream()
    environment.set_parallelism(1)  # all else takes it when the graph is made
    return environment


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flink run -py flink/job.py", description=main.__doc__)
    parser.add_argument("--feed", type=Path, required=True)
    parser.add_argument("--speed", type=float, required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--max-shards", type=int, required=True)
    parser.add_argument("--detached", action="store_true", help="end once the job is handed over to its cluster")
    for stream in ("events", "minutes", "late"):
        parser.add_argument(f"--{stream}-stream", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
