"""A feed's AWS resources and minutes, for tests that run steps against a real local AWS and SageMaker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from components.run import Run
from loopcast import aws
from loopcast.feed import Feed
from loopcast.minute import Minute, feature_definitions
from loopcast.names import Names

FIRST_MINUTE = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


def make_run(feed: Feed, identifier: str) -> Run:
    return Run(feed, Names(feed.name, aws.account()), identifier)


def make_resources(feed: Feed) -> Names:
    """The bucket, the feature group, the workgroup and the model package group of the feed."""
    names = Names(feed.name, aws.account())
    aws.client("s3").create_bucket(Bucket=names.bucket)
    aws.client("athena").create_work_group(Name=names.athena_workgroup)
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=names.model_package_group)
    sagemaker.create_feature_group(
        FeatureGroupName=names.feature_group,
        RecordIdentifierFeatureName="record_id",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=feature_definitions(feed),
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": names.s3(names.offline_store_prefix)}},
        RoleArn=names.role_arn("sagemaker"),
    )
    group = names.feature_group
    until(lambda: sagemaker.describe_feature_group(FeatureGroupName=group)["FeatureGroupStatus"] == "Created")
    return names


def minute(feed: Feed, index: int, value: float, revision: int = 0) -> Minute:
    """The minute `index` minutes after the first, with `value` as the target and 1 for all other metrics."""
    metrics = dict.fromkeys(feed.metrics, 1) | {feed.forecast.target: value}
    return Minute(feed.name, FIRST_MINUTE + timedelta(minutes=index), revision, metrics)


def put(names: Names, minutes: Sequence[Minute]) -> None:
    runtime = aws.client("sagemaker-featurestore-runtime")
    with ThreadPoolExecutor(8) as pool:
        records = (item.to_record() for item in minutes)
        list(pool.map(lambda record: runtime.put_record(FeatureGroupName=names.feature_group, Record=record), records))


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.1)
