"""Runs a feed's job as a Flink application cluster on Kubernetes: a JobManager with the job, and TaskManagers.

Each becomes Flink's own process once its home is laid out. After a failure Flink goes on by itself from what its high
availability keeps; where that is gone, as with a new release over an old bucket, the JobManager starts from the newest
checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from flink import credentials, high_availability
from flink.checkpoints import job_id, newest
from flink.config_maps import ConfigMaps, Unreachable
from flink.home import (
    COMPILER,
    SECRETIVE,
    Missing,
    Setup,
    configuration,
    configure,
    distribution,
    environment,
    lay_out_cluster,
    module_options,
)
from flink.settings import (
    JOB,
    Refused,
    add_job_flags,
    job_arguments,
    log_as_json,
    max_shards,
    require_shards,
    s3_endpoint,
    stream,
)
from loopcast.aws import account, client
from loopcast.feed import Feed, FeedError, load_feed
from loopcast.names import Names

RPC_PORT, BLOB_PORT, TASK_RPC_PORT, TASK_DATA_PORT = 6123, 6124, 6122, 6121
LOOK_SECONDS = 3.0
SAY_SECONDS = 30.0
_LOGGING = f"""{SECRETIVE}rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
logger.types.name = org.apache.flink.api.java.typeutils.TypeExtractor
logger.types.level = WARN
logger.settings.name = org.apache.flink.configuration.GlobalConfiguration
logger.settings.level = WARN
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}} %-5p %-60c %x - %m%n
"""
# Beside the heap; one more page of a JVM's memory than these and the limit of its container would be met.
_MEMORY = {
    "jobmanager.memory.jvm-metaspace.size": "192m",
    "jobmanager.memory.off-heap.size": "64m",
    "jobmanager.memory.jvm-overhead.min": "64m",
    "jobmanager.memory.jvm-overhead.max": "64m",
    "taskmanager.memory.jvm-metaspace.size": "144m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
    "taskmanager.memory.framework.heap.size": "96m",
    "taskmanager.memory.framework.off-heap.size": "64m",
}

Found = TypeVar("Found")

log = logging.getLogger("flink.cluster")


@dataclass(frozen=True)
class Process:
    """What this program becomes: one of Flink's scripts, with its arguments and environment."""

    arguments: Sequence[str]
    environment: Mapping[str, str]

    def become(self) -> None:
        os.execve(self.arguments[0], list(self.arguments), dict(self.environment))  # noqa: S606


def main() -> None:
    """Runs one process of a feed's Flink cluster."""
    arguments = _arguments()
    log_as_json(log)
    signal.signal(signal.SIGTERM, _stopped)  # the first process of a container has no default for it
    try:
        arguments.run(arguments)
    except (FeedError, Missing, Refused, Unreachable, LookupError) as error:
        raise SystemExit(f"flink.cluster: {error}") from None


def job_manager(arguments: argparse.Namespace) -> None:
    """Waits for the job's streams and its bucket, and becomes the JobManager with the job in it."""
    feed = load_feed(arguments.feed)
    require_slots(arguments.task_managers, arguments.slots, max_shards(arguments, feed))
    patiently(arguments.wait, lambda: _look(arguments, feed))
    setup = _setup(arguments, feed)
    _prepare_high_availability(arguments, setup)
    checkpoint = newest(setup.checkpoints, setup.job_id)
    log.info("starting the JobManager", extra={"feed": feed.name, "job_id": setup.job_id, "checkpoint": checkpoint})
    restore = ["--fromSavepoint", checkpoint, "--restoreMode", "CLAIM"] if checkpoint else []
    entry = ["--job-classname", "org.apache.flink.client.python.PythonDriver"]
    job = ["-py", str(JOB), *job_arguments(arguments, feed), "--detached"]
    _assembled(arguments, setup, "standalone-job.sh", [*entry, *restore, *job]).become()


def task_manager(arguments: argparse.Namespace) -> None:
    """Becomes a TaskManager, which finds the JobManager by the cluster's ConfigMap."""
    feed = load_feed(arguments.feed)
    setup = patiently(arguments.wait, lambda: _setup(arguments, feed))
    log.info("starting a TaskManager", extra={"feed": feed.name, "slots": arguments.slots})
    _assembled(arguments, setup, "taskmanager.sh", []).become()


def require_slots(task_managers: int, slots: int, shards: int) -> None:
    """Raises `Refused` where there are too few slots for the source's subtasks: the job would wait for ever."""
    if task_managers * slots < shards:
        raise Refused(
            f"{task_managers} TaskManagers with {slots} slots each have {task_managers * slots} slots, but the stream "
            f"may have {shards} shards and each needs one: raise --task-managers or --slots"
        )


def patiently(seconds: float, look: Callable[[], Found]) -> Found:
    """What `look` returns once AWS no longer refuses it, within `seconds`. Raises `Refused`."""
    deadline, said = time.monotonic() + seconds, float("-inf")
    while True:
        try:
            return look()
        except (BotoCoreError, ClientError) as error:
            now = time.monotonic()
            if now >= deadline:
                raise Refused(f"waited {seconds:g} s for what the job needs: {error}") from error
            if now - said >= SAY_SECONDS:
                log.warning("waiting for what the job needs", extra={"reason": str(error)})
                said = now
            time.sleep(LOOK_SECONDS)


def settings(arguments: argparse.Namespace, setup: Setup) -> Mapping[str, str]:
    """Flink's settings for both processes."""
    return {
        **configuration(setup, arguments.work_dir),
        **high_availability.settings(arguments.cluster_id, arguments.namespace, storage(setup)),
        **_addresses(arguments.host),
        **_MEMORY,
        "jobmanager.memory.process.size": f"{arguments.memory}m",
        "taskmanager.memory.process.size": f"{arguments.memory}m",
        "taskmanager.numberOfTaskSlots": str(arguments.slots),
        # A TaskManager waits for as long as the JobManager does.
        "taskmanager.registration.timeout": f"{arguments.wait + 300:.0f} s",
        "heartbeat.interval": "5 s",
        "heartbeat.timeout": "30 s",
        "web.submit.enable": "false",
        "web.cancel.enable": "false",
        **dict(arguments.setting),
    }


def storage(setup: Setup) -> str:
    """Where in S3 high availability keeps what is too large for a ConfigMap."""
    return f"{setup.checkpoints.rstrip('/')}/ha"


def _look(arguments: argparse.Namespace, feed: Feed) -> None:
    """Raises what AWS answers while something that the job needs is not there."""
    require_shards(stream(arguments, feed, "events"), max_shards(arguments, feed))
    for which in ("minutes", "late"):
        client("kinesis").describe_stream_summary(StreamName=stream(arguments, feed, which))
    newest(_setup(arguments, feed).checkpoints, job_id(feed.name))


def _setup(arguments: argparse.Namespace, feed: Feed) -> Setup:
    return Setup(
        python=Path(sys.executable),
        checkpoints=arguments.checkpoints or _checkpoints(feed),
        checkpoint_seconds=arguments.checkpoint_interval,
        job_id=job_id(feed.name),
        max_shards=max_shards(arguments, feed),
        rest_port=arguments.rest_port,
        metrics_port=arguments.metrics_port,
        s3_endpoint=s3_endpoint(),
    )


def _checkpoints(feed: Feed) -> str:
    names = Names(feed.name, account())
    return names.s3(names.checkpoints_prefix)


def _prepare_high_availability(arguments: argparse.Namespace, setup: Setup) -> None:
    maps = ConfigMaps(arguments.namespace)
    if arguments.owner:
        high_availability.adopt(maps, arguments.cluster_id, setup.job_id, arguments.owner)
    high_availability.forget_graph(maps, arguments.cluster_id, setup.job_id, storage(setup))


def _assembled(arguments: argparse.Namespace, setup: Setup, script: str, rest: Sequence[str]) -> Process:
    """Lays out Flink's home, and the process that starts from there."""
    folder, pyflink = arguments.work_dir, distribution(setup.python)
    lay_out_cluster(folder, pyflink, pyflink.glob("opt/flink-python-*.jar"))
    configure(folder, pyflink, settings(arguments, setup))
    (folder / "conf" / "log4j-console.properties").write_text(_LOGGING)
    options = ["-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", f"-Djava.io.tmpdir={folder / 'tmp'}", *COMPILER]
    return Process(
        [str(pyflink / "bin" / script), "start-foreground", *rest],
        {
            **os.environ,
            **environment(folder, pyflink),
            **credentials.environment(folder),
            "FLINK_PID_DIR": str(folder),
            # Stated here, the scripts need not start a JVM to ask for them.
            "FLINK_ENV_JAVA_OPTS": " ".join([module_options(pyflink), *options]),
        },
    )


def _addresses(host: str) -> Mapping[str, str]:
    """The pod's own address for others, and all of its addresses to listen on."""
    return {
        "jobmanager.rpc.address": host,
        "jobmanager.rpc.port": str(RPC_PORT),
        "jobmanager.bind-host": "0.0.0.0",  # noqa: S104
        "high-availability.jobmanager.port": str(RPC_PORT),
        "blob.server.port": str(BLOB_PORT),
        "rest.address": host,
        "rest.bind-address": "0.0.0.0",  # noqa: S104
        "taskmanager.host": host,
        "taskmanager.bind-host": "0.0.0.0",  # noqa: S104
        "taskmanager.rpc.port": str(TASK_RPC_PORT),
        "taskmanager.data.port": str(TASK_DATA_PORT),
    }


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"not KEY=VALUE: {text!r}")
    return key, value


def _stopped(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flink.cluster", description=main.__doc__)
    commands = parser.add_subparsers(required=True, metavar="jobmanager|taskmanager")
    manager = _command(commands, "jobmanager", job_manager, memory=640)
    manager.add_argument("--task-managers", type=int, default=1, help="how many there are (%(default)s)")
    manager.add_argument("--owner", default="", metavar="CONFIGMAP", help="what Flink's ConfigMaps are removed with")
    _command(commands, "taskmanager", task_manager, memory=576)
    return parser.parse_args()


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    memory: int,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, description=run.__doc__, help=run.__doc__)
    parser.set_defaults(run=run)
    add_job_flags(parser)
    env = os.environ
    host = env.get("POD_IP") or socket.gethostname()
    parser.add_argument("--checkpoints", metavar="S3", help="for example s3://bucket/checkpoints/ (the feed's bucket)")
    parser.add_argument("--cluster-id", default="loopcast-flink", help="begins Flink's ConfigMaps' names (%(default)s)")
    parser.add_argument("--namespace", default=env.get("POD_NAMESPACE", "default"), help="%(default)s (POD_NAMESPACE)")
    parser.add_argument("--host", default=host, help="the address of this pod for the others (POD_IP)")
    parser.add_argument("--slots", type=int, default=1, help="of each TaskManager (%(default)s)")
    parser.add_argument("--memory", type=int, default=memory, metavar="MIB", help="of the whole JVM (%(default)s)")
    parser.add_argument(
        "--wait", type=float, default=600.0, metavar="SECONDS", help="for AWS's resources (%(default)s)"
    )
    parser.add_argument(
        *("--setting", "-D"), type=_setting, action="append", default=[], metavar="KEY=VALUE", help="of Flink's own"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("/tmp/flink"), help="%(default)s")  # noqa: S108
    parser.add_argument("--rest-port", type=int, default=8081, help="Flink's REST API and page (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=9249, help="Prometheus metrics (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
