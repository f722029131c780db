"""Assembles what Flink needs to start, in a folder of ours: jars, plugins and configuration.

PyFlink brings Flink itself; nothing is written into it. The further jars are what `flink/pom.xml` copies.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

JARS = Path(__file__).parent / "target"
_REPORTER = "metrics-prometheus"
_HEAP = "512m"
# The slow compiler is kept for what runs for long: it took half of the work of a start.
COMPILER = (
    "-XX:Tier4InvocationThreshold=100000",
    "-XX:Tier4MinInvocationThreshold=20000",
    "-XX:Tier4CompileThreshold=300000",
)
# It logs a process's whole environment, credentials among it.
SECRETIVE = """logger.environment.name = org.apache.flink.client.python.PythonEnvUtils
logger.environment.level = WARN
"""
_LOGGING = f"""{SECRETIVE}rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${{sys:log.file}}
appender.file.filePattern = ${{sys:log.file}}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}} %-5p %-60c %x - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


class Missing(RuntimeError):
    """Something that `make setup` makes is not there; the message says what and what to do."""


@dataclass(frozen=True)
class Setup:
    """What the job runs with; `s3_endpoint` is None for AWS itself."""

    python: Path
    checkpoints: str
    checkpoint_seconds: float
    job_id: str
    max_shards: int
    rest_port: int
    metrics_port: int
    s3_endpoint: str | None = None


def assemble(folder: Path, setup: Setup) -> dict[str, str]:
    """Lays Flink's home in `folder`, anew, and returns the environment that `flink run` is to have.

    Raises `Missing`.
    """
    pyflink = distribution(setup.python)
    # The reporter is a plugin, but local execution finds it on the class path only.
    lay_out(folder, pyflink, pyflink.glob(f"plugins/{_REPORTER}/*.jar"))
    configure(folder, pyflink, configuration(setup, folder))
    (folder / "conf" / "log4j-cli.properties").write_text(_LOGGING)
    return environment(folder, pyflink) | {"JVM_ARGS": _jvm_options(folder)}


def main() -> None:
    """Lays out a whole home, for Flink's own scripts as the Flink operator starts them."""
    parser = argparse.ArgumentParser(prog="python -m flink.home", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="for example /opt/flink")
    folder, pyflink = parser.parse_args().folder, distribution(Path(sys.executable))
    try:
        lay_out_cluster(folder, pyflink)
    except Missing as error:
        raise SystemExit(f"flink.home: {error}") from None
    for name in ("bin", "opt"):
        (folder / name).symlink_to(pyflink / name)


def lay_out_cluster(folder: Path, pyflink: Path, further: Iterable[Path] = ()) -> None:
    """As `lay_out`, for a process of a cluster, which takes the reporter for a plugin. Raises `Missing`."""
    lay_out(folder, pyflink, further)
    (folder / "plugins" / _REPORTER).symlink_to(pyflink / "plugins" / _REPORTER)


def lay_out(folder: Path, pyflink: Path, further: Iterable[Path] = ()) -> None:
    """Links the jars of Flink, of the job and `further` ones, and the plugins, in `folder`. Raises `Missing`."""
    if not (JARS / "lib").is_dir():
        raise Missing(f"Flink's jars are not in {JARS}: run make flink/target/ready")
    for name in ("lib", "plugins"):
        shutil.rmtree(folder / name, ignore_errors=True)
    _link(folder / "lib", [*pyflink.glob("lib/*.jar"), *JARS.glob("lib/*.jar"), *further])
    _link(folder / "plugins", JARS.glob("plugins/*"))


def configure(folder: Path, pyflink: Path, settings: Mapping[str, str]) -> None:
    """Writes Flink's configuration, and makes its folders for logs and temporary files."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    for name in ("conf", "log", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    whole = {**settings, "env.java.opts.all": module_options(pyflink)}
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in whole.items()]
    (folder / "conf" / "config.yaml").write_text("".join(lines))


def distribution(python: Path) -> Path:
    """The folder of the PyFlink that belongs to the interpreter `python`. Raises `Missing`."""
    found = list(python.parents[1].glob("lib/python3.*/site-packages/pyflink"))
    if not found:
        raise Missing(
            f"there is no PyFlink beside {python}: run make .venv/flink/ready, or name another --flink-python"
        )
    return found[0]


def configuration(setup: Setup, folder: Path) -> dict[str, str]:
    """Flink's own settings."""
    endpoint = {"s3.endpoint": setup.s3_endpoint, "s3.path.style.access": "true"} if setup.s3_endpoint else {}
    return {
        "$internal.pipeline.job-id": setup.job_id,
        "rest.port": str(setup.rest_port),
        "rest.bind-port": str(setup.rest_port),
        "metrics.reporters": "prometheus",
        "metrics.reporter.prometheus.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        "metrics.reporter.prometheus.port": str(setup.metrics_port),
        "taskmanager.numberOfTaskSlots": str(setup.max_shards),
        "taskmanager.memory.managed.size": "32m",
        "taskmanager.memory.network.min": "32m",
        "taskmanager.memory.network.max": "32m",
        "execution.buffer-timeout.interval": "10 ms",
        "pipeline.auto-watermark-interval": "100 ms",
        "execution.checkpointing.interval": f"{setup.checkpoint_seconds * 1000:.0f} ms",
        "execution.checkpointing.timeout": "60 s",
        "execution.checkpointing.tolerable-failed-checkpoints": "30",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.dir": setup.checkpoints,
        "execution.checkpointing.num-retained": "2",
        "execution.checkpointing.snapshot-compression": "true",
        "state.backend.type": "hashmap",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
        "python.client.executable": str(setup.python),
        "python.executable": str(setup.python),
        "io.tmp.dirs": str(folder / "tmp"),
        **endpoint,
    }


def environment(folder: Path, pyflink: Path) -> dict[str, str]:
    """Where Flink's own scripts find what was laid out in `folder`."""
    return {
        "FLINK_LIB_DIR": str(folder / "lib"),
        "FLINK_PLUGINS_DIR": str(folder / "plugins"),
        "FLINK_OPT_DIR": str(pyflink / "opt"),
        "FLINK_CONF_DIR": str(folder / "conf"),
        "FLINK_LOG_DIR": str(folder / "log"),
        "FLINK_IDENT_STRING": "loopcast",
    }


def _jvm_options(folder: Path) -> str:
    options = [f"-Xmx{_HEAP}", "-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=192m", "-XX:+ExitOnOutOfMemoryError"]
    options += [f"-Djava.io.tmpdir={folder / 'tmp'}", *COMPILER]
    return " ".join(options)


def module_options(pyflink: Path) -> str:
    """The JVM options that open to Flink what modules keep closed, as its own configuration has them.

    Less those of the Java compiler, which is no part of a runtime and is not used here.
    """
    own = yaml.safe_load((pyflink / "conf" / "config.yaml").read_text())
    options = str(own["env"]["java"]["opts"]["all"]).split()
    return " ".join(option for option in options if "jdk.compiler" not in option)


def _link(folder: Path, targets: Iterable[Path]) -> None:
    folder.mkdir(parents=True)
    for target in targets:
        (folder / target.name).symlink_to(target.resolve())


if __name__ == "__main__":
    main()
