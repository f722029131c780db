"""Names of a feed's AWS resources. `manifests/aws` declares resources of these names; a test holds both together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """Names for the feed `feed` in `account`; S3 prefixes end in a slash."""

    feed: str
    account: str

    @property
    def prefix(self) -> str:
        return f"loopcast-{self.feed}"

    bus = property(lambda self: self.prefix)
    rule = property(lambda self: f"{self.prefix}-ingest")
    queue = property(lambda self: f"{self.prefix}-ingest")
    dead_letter_queue = property(lambda self: f"{self.prefix}-dead-letter")
    seen_table = property(lambda self: f"{self.prefix}-seen")
    positions_table = property(lambda self: f"{self.prefix}-positions")
    launches_table = property(lambda self: f"{self.prefix}-launches")
    events_stream = property(lambda self: f"{self.prefix}-transactions")
    minutes_stream = property(lambda self: f"{self.prefix}-minutes")
    late_stream = property(lambda self: f"{self.prefix}-late")
    archive = property(lambda self: f"{self.prefix}-archive")
    feature_group = property(lambda self: f"{self.prefix}-minutes")
    model_package_group = property(lambda self: self.prefix)
    glue_database = property(lambda self: self.prefix.replace("-", "_"))
    athena_workgroup = property(lambda self: self.prefix)
    topic = property(lambda self: f"{self.prefix}-notifications")
    model_packages_rule = property(lambda self: f"{self.prefix}-model-packages")
    endpoints_rule = property(lambda self: f"{self.prefix}-endpoints")
    notifications_queue = property(lambda self: f"{self.prefix}-notifications")
    dashboard = property(lambda self: self.prefix)
    bucket = property(lambda self: f"{self.prefix}-{self.account}")
    parameters = property(lambda self: f"/loopcast/{self.feed}/")
    metric_namespace = "Loopcast"
    event_source = "loopcast.poller"
    event_detail_type = "events"

    raw_prefix = "raw/"
    oversize_prefix = "oversize/"
    checkpoints_prefix = "checkpoints/"
    offline_store_prefix = "offline-store/"
    models_prefix = "models/"
    runs_prefix = "runs/"
    capture_prefix = "capture/"
    monitoring_prefix = "monitoring/"
    athena_results_prefix = "athena-results/"

    def repository(self, image: str) -> str:
        """The ECR repository of one of our images: an algorithm, for example `boosted`, or `pipelines`."""
        return f"{self.prefix}/loopcast-{image}"

    def cancelled_key(self, run_id: str) -> str:
        """The key in the bucket of what marks a run as cancelled, for its program to see when it is ended."""
        return f"{self.runs_prefix}{run_id}/cancelled"

    @property
    def tuning_prefix(self) -> str:
        """What the names of tuning jobs begin with, which have 32 characters at most: the prefix, or its beginning."""
        return self.prefix[:23].rstrip("-")

    def endpoint(self, stage: str) -> str:
        """The endpoint of `stage`, staging or production."""
        return f"{self.prefix}-{stage}"

    def alarm(self, stage: str, kind: str) -> str:
        """The CloudWatch alarm of `stage`: quantile-loss, missing-minutes, feature-drift, monitor-silent,
        unsound-forecasts (of production), or degraded, which is made of others."""
        return f"{self.prefix}-{stage}-{kind}"

    def role(self, part: str) -> str:
        """The IAM role of one part, for example `poller`."""
        return f"{self.prefix}-{part}"

    def role_arn(self, part: str) -> str:
        return f"arn:aws:iam::{self.account}:role/{self.role(part)}"

    def s3(self, prefix: str) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{prefix}"

    def parameter(self, *parts: str) -> str:
        """An SSM parameter, for example `parameter("thresholds", "staging")`."""
        return f"{self.parameters}{'/'.join(parts)}"
