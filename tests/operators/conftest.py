"""A feed with the AWS resources that an operator looks at, and the operator as a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from loopcast.aws import client
from loopcast.feed import parse_feed
from loopcast.minute import feature_definitions
from loopcast.names import Names
from tests.components.examples import FEED_TEXT
from tests.conftest import Service, kill

CHECKOUT = Path(__file__).resolve().parents[2]


def until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    """What `holds` gives once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
    return found


class Program:
    """A running `python -m operators`."""

    def __init__(self, flags: list[str], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            command = [sys.executable, "-m", "operators", "--http-port", "0", "--poll-interval", "0.3", *flags]
            self.process = subprocess.Popen(
                command, env={**os.environ, **env}, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def url(self, path: str) -> str:
        found = until(lambda: re.search(r'"http_port": (\d+)', self.text) or self._alive())
        return f"http://127.0.0.1:{found[1]}{path}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url(path), timeout=5) as answer:
            return str(answer.read().decode())

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            kill(self.process)

    def _alive(self) -> None:
        assert self.process.poll() is None, self.text


@dataclass
class World:
    """A feed of its own, its launches, its models, its alarms."""

    name: str
    folder: Path
    env: Mapping[str, str]
    programs: list[Program] = field(default_factory=list)

    @property
    def names(self) -> Names:
        return Names(self.name, "000000000000")

    @property
    def feed(self) -> Path:
        return self.folder / "feed.yaml"

    def alarm(self, state: str, stage: str = "staging") -> str:
        """Sets the stage's alarm, and returns its name."""
        name = self.names.alarm(stage, "degraded")
        client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test says so")
        return name

    def make_feature_group(self) -> None:
        """An online store with no minute in it."""
        client("sagemaker").create_feature_group(
            FeatureGroupName=self.names.feature_group,
            RecordIdentifierFeatureName="record_id",
            EventTimeFeatureName="event_time",
            FeatureDefinitions=feature_definitions(parse_feed(self.feed.read_text())),
            OnlineStoreConfig={"EnableOnlineStore": True},
        )

    def approve_package(self) -> str:
        """The ARN of a new approved version of the model."""
        container = {"Image": "x", "ModelDataUrl": "s3://nowhere/model.tar.gz"}
        answer = client("sagemaker").create_model_package(
            ModelPackageGroupName=self.names.model_package_group,
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelApprovalStatus="Approved",
        )
        return str(answer["ModelPackageArn"])

    def claims(self) -> list[dict[str, Any]]:
        """What the launches table holds, by name of the claim."""
        items = client("dynamodb").scan(TableName=self.names.launches_table)["Items"]
        return [json.loads(item["run"]["S"]) for item in sorted(items, key=lambda item: item["id"]["S"])]

    def operator(self, *flags: str, **env: str) -> Program:
        """Starts an operator; it is killed at the test's end."""
        log = self.folder / f"operator-{len(self.programs)}.log"
        program = Program(["--feed", str(self.feed), *flags], {**self.env, **env}, log)
        self.programs.append(program)
        return program


@pytest.fixture
def world(aws: Service, sagemaker: Service, tmp_path: Path) -> Iterator[World]:
    made = World(f"parcels-{uuid4().hex[:6]}", tmp_path, sagemaker.env)
    made.feed.write_text(FEED_TEXT.replace("name: parcels", f"name: {made.name}"))
    client("dynamodb").create_table(
        TableName=made.names.launches_table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    client("sagemaker").create_model_package_group(ModelPackageGroupName=made.names.model_package_group)
    for stage in ("staging", "production"):
        client("cloudwatch").put_metric_alarm(
            AlarmName=made.names.alarm(stage, "degraded"),
            Namespace="Loopcast",
            MetricName=f"Nothing-{made.name}",
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        made.alarm("OK", stage)
    yield made
    for program in made.programs:
        kill(program.process)
