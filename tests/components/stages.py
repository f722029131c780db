"""A feed whose model packages are served by tiny forecasters, for tests of what happens to a stage."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.check_endpoint.ask import unsound
from components.deploy_endpoint.deploy_endpoint import deploy, package_model
from components.deploy_endpoint.endpoint import Waiting
from components.deploy_endpoint.guardrails import Guardrails, guarding
from components.models import served_package
from components.run import Run, write_json
from components.write_threshold.write_threshold import write_threshold
from loopcast import aws as clients
from loopcast.clock import Clock
from loopcast.feed import Feed
from loopcast.names import Names
from tests.components.stack import make_resources, minute, put
from tests.conftest import Service, environment, free_port, running

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny-forecaster:1"
IMAGES = f"""
images:
  - {{pattern: "*tiny-forecaster:*", python: {sys.executable}, module: tests.components.forecaster}}
"""
WAITING = Waiting(0.1, 60, Clock())


@contextmanager
def own_sagemaker(folder: Path) -> Iterator[None]:
    """A SageMaker that knows the tiny forecaster, for the clients of this process."""
    (folder / "images.yaml").write_text(IMAGES)
    endpoint = f"http://127.0.0.1:{free_port()}"
    names = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "SAGEMAKER_FEATURESTORE_RUNTIME")
    flags = ("--images", str(folder / "images.yaml"), "--step-seconds", "0.02", "--grace-seconds", "0.3")
    with (
        environment({f"AWS_ENDPOINT_URL_{name}": endpoint for name in names}),
        running("local.sagemaker", endpoint, folder, *flags),
    ):
        yield


@dataclass(frozen=True)
class Stages:
    """The feed's stages, in which each test uses one of its own."""

    feed: Feed
    names: Names

    def run(self, identifier: str) -> Run:
        return Run(self.feed, self.names, identifier)

    def package(self, loss: float, **variables: str) -> dict[str, Any]:
        """An approved model package, described, whose backtest had this loss in each of 8 windows."""
        statistics = {"loss": loss, "window_losses": [loss] * 8}
        uri = write_json(self.names.s3(f"runs/{loss}/statistics.json"), statistics)
        sagemaker = clients.client("sagemaker")
        steps = {"STEPS": str(self.feed.forecast.steps)}
        arn = sagemaker.create_model_package(
            ModelPackageGroupName=self.names.model_package_group,
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "Environment": {**steps, **variables}}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": uri}}},
        )["ModelPackageArn"]
        return self.described(arn)

    def described(self, arn: str) -> dict[str, Any]:
        return dict(clients.client("sagemaker").describe_model_package(ModelPackageName=arn))

    def deploy(
        self,
        stage: str,
        package: dict[str, Any],
        run_id: str,
        rails: Guardrails | None = None,
        waiting: Waiting = WAITING,
        instance_type: str = "ml.m5.large",
    ) -> float:
        """Deploys as the pipeline does; returns the threshold."""
        model = package_model(self.names, package)
        deploy(self.names, stage, model, run_id, instance_type, waiting, rails)
        return write_threshold(self.names, stage, package)

    def rails(self, stage: str, **changes: Any) -> Guardrails:
        """A canary of a half that is asked for forecasts while it bakes."""
        known = {
            "canary_percent": 50,
            "bake_seconds": 1,
            "alarms": guarding(self.names, stage, ""),
            "check": functools.partial(unsound, self.run("asks"), stage),
        }
        return Guardrails(**{**known, **changes})

    def endpoint(self, stage: str) -> dict[str, Any]:
        name = self.names.endpoint(stage)
        return dict(clients.client("sagemaker").describe_endpoint(EndpointName=name))

    def serves(self, stage: str) -> str | None:
        return served_package(self.names, stage)

    def threshold(self, stage: str) -> float:
        name = self.names.parameter("thresholds", stage)
        return float(clients.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def put_alarm(self, stage: str, kind: str, state: str) -> None:
        """The stage's alarm in this state, which no metric changes."""
        cloudwatch, name = clients.client("cloudwatch"), self.names.alarm(stage, kind)
        if not cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]:
            self.watch(stage, kind, name)
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")

    def watch(self, stage: str, kind: str, metric: str) -> None:
        """The stage's alarm on more than 0 in the metric's sum over ten seconds."""
        dimensions = {"Feed": self.feed.name, "Stage": stage}
        clients.client("cloudwatch").put_metric_alarm(
            AlarmName=self.names.alarm(stage, kind),
            Namespace=self.names.metric_namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            Statistic="Sum",
            Period=10,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )


@contextmanager
def stages(feed: Feed, aws: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The stages of `feed`, with half an hour of minutes in the online store."""
    with own_sagemaker(tmp_path_factory.mktemp(feed.name)):
        names = make_resources(feed)
        put(names, [minute(feed, index, 100.0 + index) for index in range(30)])
        yield Stages(feed, names)
