"""Assembles what `flink run` needs, in a folder of ours: jars, plugins and configuration.

PyFlink brings Flink itself; nothing is written into it. The further jars are what `flink/pom.xml` copies.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

JARS = Path(__file__).parent / "target"
_HEAP = "512m"
# The slow compiler is kept for what runs for long: it took half of the work of a start.
_COMPILER = {"InvocationThreshold": 100_000, "MinInvocationThreshold": 20_000, "CompileThreshold": 300_000}
_LOGGING = """rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %-60c %x - %m%n
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
    if not (JARS / "lib").is_dir():
        raise Missing(f"Flink's jars are not in {JARS}: run make flink/target/ready")
    for name in ("lib", "plugins", "tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
    # The reporter is a plugin, but local execution finds it on the class path only.
    jars = [*pyflink.glob("lib/*.jar"), *JARS.glob("lib/*.jar"), *pyflink.glob("plugins/metrics-prometheus/*.jar")]
    _link(folder / "lib", jars)
    _link(folder / "plugins", JARS.glob("plugins/*"))
    for name in ("conf", "log", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    settings = configuration(setup, folder) | {"env.java.opts.all": _module_options(pyflink)}
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]
    (folder / "conf" / "config.yaml").write_text("".join(lines))
    (folder / "conf" / "log4j-cli.properties").write_text(_LOGGING)
    return _environment(folder, pyflink)


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


def _environment(folder: Path, pyflink: Path) -> dict[str, str]:
    options = [f"-Xmx{_HEAP}", "-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=192m", "-XX:+ExitOnOutOfMemoryError"]
    options += [f"-Djava.io.tmpdir={folder / 'tmp'}"]
    options += [f"-XX:Tier4{name}={value}" for name, value in _COMPILER.items()]
    return {
        "FLINK_LIB_DIR": str(folder / "lib"),
        "FLINK_PLUGINS_DIR": str(folder / "plugins"),
        "FLINK_OPT_DIR": str(pyflink / "opt"),
        "FLINK_CONF_DIR": str(folder / "conf"),
        "FLINK_LOG_DIR": str(folder / "log"),
        "FLINK_IDENT_STRING": "loopcast",
        "JVM_ARGS": " ".join(options),
    }


def _module_options(pyflink: Path) -> str:
    """The JVM options that open to Flink what modules keep closed, as its own configuration has them."""
    own = yaml.safe_load((pyflink / "conf" / "config.yaml").read_text())
    return str(own["env"]["java"]["opts"]["all"])


def _link(folder: Path, targets: Iterable[Path]) -> None:
    folder.mkdir(parents=True)
    for target in targets:
        (folder / target.name).symlink_to(target.resolve())
