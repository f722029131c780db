"""The stack that runs in a cluster, seen from outside: its AWS, its source, and the truth about its minutes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from local import online
from local.control import ReplayedSource
from local.flow import Counters, Flow, Stores, check, closed_until, measured
from local.loop import served_version
from local.source import ledger as ledgers
from loopcast import aws
from loopcast.clock import Clock
from loopcast.feed import Feed
from loopcast.names import Names
from tests.cluster.kube import Namespace, until
from tests.conftest import environment

ACCOUNT = "000000000000"
STAGE = "staging"
LEDGER = "/state/ledger.sqlite"
"""Where the source's pod has it."""
_COPY = """
import pathlib, sqlite3, sys
source, copy = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True), sqlite3.connect("/tmp/ledger-copy.db")
source.backup(copy)
copy.close()
sys.stdout.buffer.write(pathlib.Path("/tmp/ledger-copy.db").read_bytes())
"""
_UNCOUNTED = Counters(polled=0, published=0, deduplicated=0, late=0, gaps=0)
"""The programs' own counters begin anew with each pod: what was stored is compared instead."""


@dataclass(frozen=True)
class ClusterStack:
    """A release with local AWS and the replayed source, all of it reached through kubectl port-forward."""

    namespace: Namespace
    feed: Feed
    speed: float
    source: ReplayedSource
    endpoints: Mapping[str, str]
    folder: Path

    @property
    def names(self) -> Names:
        return Names(self.feed.name, ACCOUNT)

    # --- minutes --------------------------------------------------------------------------------------------
    def newest_minute(self) -> datetime:
        runtime = aws.client("sagemaker-featurestore-runtime")
        found = online.newest(runtime, self.names.feature_group, self.feed.name, self.source.now())
        return found or self.source.began()

    def await_minutes(self, count: int, seconds: float) -> None:
        """Until `count` further minutes are readable in the feature store."""
        wanted = self.newest_minute() + timedelta(minutes=count)
        until(lambda: self.newest_minute() >= wanted, f"minute {wanted:%H:%M} in the feature store", seconds)

    def audit(self, seconds: float = 180) -> Flow:
        """Holds the source, and compares every minute that has closed with its ledger until all are exact, or for
        `seconds`; then the source goes on."""
        self.source.hold()
        until(self.source.all_listed, "answer with the last transactions", 60)
        ledger = self._ledger()
        lateness = Clock(self.speed).lateness(self.feed.window.lateness)
        stores = Stores({**self.endpoints}, self.feed)
        flows: list[Flow] = []

        def exact() -> bool:
            flows.append(self._flow(stores, ledger, closed_until(ledger, lateness)))
            assert flows[-1].exact, flows[-1]
            return True

        until(exact, "exact minutes", seconds)
        self.source.release()
        return flows[-1]

    def _flow(self, stores: Stores, ledger: pd.DataFrame, until_second: int) -> Flow:
        return check(
            feed=self.feed,
            ledger=measured(ledger, self.feed),
            archived=stores.archived(self.names.bucket, self.names.raw_prefix),
            windowed=stores.windowed(self.names.minutes_stream),
            written=stores.written(self.names.bucket, self.names.offline_store_prefix),
            counters=_UNCOUNTED,
            closed_until=until_second,
        )

    def _ledger(self) -> pd.DataFrame:
        """The source's ledger, copied out of its pod as it is at one moment."""
        pod = self.namespace.pod("source")
        command = ["kubectl", "-n", self.namespace.name, "exec", pod, "--", "python", "-c", _COPY, LEDGER]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        path = self.folder / "ledger.db"
        path.write_bytes(done.stdout)
        frame: pd.DataFrame = ledgers.read(path).to_pandas()
        return frame

    # --- the model ------------------------------------------------------------------------------------------
    def served_version(self) -> int:
        return served_version(self.names.endpoint(STAGE))

    def runs(self, pipeline: str) -> list[dict[str, Any]]:
        """The Jobs of the pipeline's runs, oldest first."""
        jobs = self.namespace.get("jobs", "-l", f"loopcast.io/pipeline={pipeline}")
        return sorted(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def packages(self) -> list[dict[str, Any]]:
        """The registered models, newest first."""
        found = aws.client("sagemaker").list_model_packages(
            ModelPackageGroupName=self.names.model_package_group, SortBy="CreationTime", SortOrder="Descending"
        )
        return list(found["ModelPackageSummaryList"])

    def approve_newest(self) -> int:
        """Approves the newest registered model, as a person would; returns its version."""
        newest = self.packages()[0]
        aws.client("sagemaker").update_model_package(
            ModelPackageArn=newest["ModelPackageArn"], ModelApprovalStatus="Approved"
        )
        return int(newest["ModelPackageVersion"])

    def history(self) -> list[dict[str, Any]]:
        """The monitor's records of the stage, oldest first."""
        s3, prefix = aws.client("s3"), f"{self.names.monitoring_prefix}{STAGE}/history/"
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.names.bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        records = [json.loads(s3.get_object(Bucket=self.names.bucket, Key=key)["Body"].read()) for key in keys]
        return sorted(records, key=lambda record: str(record["end"]))

    def alarm_state(self) -> str:
        name = self.names.alarm(STAGE, "degraded")
        found = aws.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])
        return str(found["CompositeAlarms"][0]["StateValue"]) if found["CompositeAlarms"] else "absent"


@contextmanager
def reached(namespace: Namespace, feed: Feed, speed: float, folder: Path) -> Iterator[ClusterStack]:
    """The stack of the release in `namespace`; this process's AWS clients use it meanwhile."""
    with ExitStack() as ways:

        def way(part: str, port: int) -> str:
            return ways.enter_context(namespace.forwarded(f"{namespace.release}-{part}", port))

        sagemaker = way("sagemaker", 4567)
        endpoints = {
            "AWS_ENDPOINT_URL": way("local-aws", 4566),
            "AWS_ENDPOINT_URL_SAGEMAKER": sagemaker,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": sagemaker,
            "AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME": sagemaker,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "LOOPCAST_ACCOUNT": ACCOUNT,
        }
        ways.enter_context(environment(endpoints))
        source = ReplayedSource(way("source", 4568))
        yield ClusterStack(namespace, feed, speed, source, endpoints, folder)
