"""What the laptop stack is made of: one `Program` a part, in the order in which they start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.processes import Program
from loopcast.clock import Clock
from loopcast.feed import Feed
from loopcast.names import Names

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "000000000000"
REGION = "us-east-1"
FIRST_PORT = 4566
_OFFSETS = {
    "aws": 0,
    "sagemaker": 1,
    "source": 2,
    "flink": 3,
    "flink-metrics": 4,
    "deduplicator": 5,
    "feature-writer": 6,
    "repairer": 7,
    "poller": 8,
    "operator": 9,
}
_OFTEN, _SELDOM = 1.0, 15.0
LAST_FIRST_PORT = 65535 - max(_OFFSETS.values())


@dataclass(frozen=True)
class Settings:
    """What a stack runs on. `speed` is event seconds a wall second; `source` is simulated, recording or live."""

    feed_path: Path
    feed: Feed
    folder: Path
    source: str = "simulated"
    recording: Path | None = None
    speed: float = 1.0
    first_port: int = FIRST_PORT
    source_options: Sequence[str] = field(default_factory=tuple)

    def port(self, part: str) -> int:
        return self.first_port + _OFFSETS[part]

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.port(part)}"

    @property
    def names(self) -> Names:
        return Names(self.feed.name, ACCOUNT)

    @property
    def ledger(self) -> Path:
        return self.folder / "source" / "ledger.db"

    @property
    def policies(self) -> Path:
        return self.folder / "policies.yaml"

    @property
    def operator_state(self) -> Path:
        """What the operator has decided and launched."""
        return self.folder / "operator"

    @property
    def environment(self) -> dict[str, str]:
        """What every program of the stack and every client of it needs in its environment."""
        sagemaker = self.url("sagemaker")
        environment = {
            "LOOPCAST_FEED": str(self.feed_path.resolve()),
            "LOOPCAST_SPEED": f"{self.speed:g}",
            "LOOPCAST_ACCOUNT": ACCOUNT,
            "AWS_ENDPOINT_URL": self.url("aws"),
            "AWS_ENDPOINT_URL_SAGEMAKER": sagemaker,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": sagemaker,
            "AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME": sagemaker,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONUNBUFFERED": "1",
        }
        if self.source != "live":
            environment["LOOPCAST_SOURCE_URL"] = f"{self.url('source')}/unconfirmed-transactions?format=json"
        return environment


def services(settings: Settings) -> list[Program]:
    """AWS on this machine: what must be up before resources can be applied."""
    state = settings.folder / "state"
    return [
        _python(settings, "aws", "local.aws", "--port", str(settings.port("aws")), "--state", str(state / "aws")),
        _python(
            settings,
            "sagemaker",
            "local.sagemaker",
            *("--port", str(settings.port("sagemaker")), "--state", str(state / "sagemaker")),
        ),
    ]


def flow(settings: Settings) -> list[Program]:
    """The way of an event, last part first, so that nothing waits for a part that isn't there."""
    ingestion = [_ingestion(settings, part) for part in ("feature-writer", "repairer", "deduplicator", "poller")]
    source = [] if settings.source == "live" else [_source(settings)]
    return [_flink(settings), *source, *ingestion, _operator(settings)]


def write_policies(settings: Settings) -> None:
    """The operator's policies for the feed, in the stack's folder."""
    text = Path(__file__).with_name("policies.yaml").read_text(encoding="utf-8")
    settings.folder.mkdir(parents=True, exist_ok=True)
    settings.policies.write_text(text.replace("${FEED}", settings.feed.name), encoding="utf-8")


def applier_command(*arguments: str) -> list[str]:
    """The command line of the applier over `manifests/aws`."""
    return [sys.executable, "-m", "applier", *arguments]


def _python(settings: Settings, part: str, module: str, *arguments: str) -> Program:
    port = settings.port(part)
    return Program(
        name=part,
        command=[sys.executable, "-m", module, *arguments],
        ports={part: port},
        health=f"http://127.0.0.1:{port}/healthz",
        environment=settings.environment,
    )


def _ingestion(settings: Settings, part: str) -> Program:
    return _python(settings, part, f"ingestion.{part.replace('-', '_')}", "--http-port", str(settings.port(part)))


def _source(settings: Settings) -> Program:
    recording = ["--recording", str(settings.recording)] if settings.recording else []
    return _python(
        settings,
        "source",
        "local.source",
        *("--port", str(settings.port("source")), "--mode", settings.source, "--speed", f"{settings.speed:g}"),
        *("--ledger", str(settings.ledger)),
        *recording,
        *settings.source_options,
    )


def _operator(settings: Settings) -> Program:
    """It looks once a minute of event time, but not all the time and not too seldom."""
    seconds = min(_SELDOM, max(_OFTEN, Clock(settings.speed).wall(60)))
    return _python(
        settings,
        "operator",
        "operators",
        *("--standalone", "--policies", str(settings.policies), "--state", str(settings.operator_state)),
        *("--http-port", str(settings.port("operator")), "--poll-interval", f"{seconds:g}"),
    )


def _flink(settings: Settings) -> Program:
    return Program(
        name="flink",
        command=[
            *(sys.executable, "-m", "flink.run", "--feed", str(settings.feed_path)),
            *("--checkpoints", settings.names.s3(settings.names.checkpoints_prefix)),
            *("--work-dir", str(settings.folder / "flink")),
            *("--rest-port", str(settings.port("flink")), "--metrics-port", str(settings.port("flink-metrics"))),
        ],
        ports={"REST": settings.port("flink"), "metrics": settings.port("flink-metrics")},
        health=f"{settings.url('flink')}/jobs/overview",
        environment=settings.environment,
        start_seconds=120.0,
    )


def default_folder() -> Path:
    """Where the stack keeps everything: `.loopcast` in the checkout, or LOOPCAST_FOLDER."""
    return Path(os.environ.get("LOOPCAST_FOLDER") or ROOT / ".loopcast")
