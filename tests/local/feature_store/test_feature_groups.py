"""Feature groups: made, described, changed, listed and deleted as on AWS, and what is wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from loopcast.aws import client
from tests.conftest import Service
from tests.local.feature_store.conftest import BUCKET, DEFINITIONS, Group, group_settings, new_name, until


def test_a_group_is_first_creating_and_then_created(sagemaker: Service, bucket: str) -> None:
    group = Group(new_name())
    group.sagemaker.create_feature_group(**group_settings(group.name))
    assert group.describe()["FeatureGroupStatus"] == "Creating"
    until(lambda: group.describe()["FeatureGroupStatus"] == "Created")


def test_a_group_is_described_as_it_was_asked_for(group: Group) -> None:
    found = group.describe()
    asked = group_settings(group.name)
    for field in ("FeatureDefinitions", "RecordIdentifierFeatureName", "EventTimeFeatureName", "RoleArn"):
        assert found[field] == asked[field]
    assert found["OfflineStoreStatus"] == {"Status": "Active"}
    created = int(found["CreationTime"].timestamp())
    storage = found["OfflineStoreConfig"]["S3StorageConfig"]
    folder = f"{asked['OfflineStoreConfig']['S3StorageConfig']['S3Uri']}/000000000000/sagemaker/us-east-1"
    assert storage["ResolvedOutputS3Uri"] == f"{folder}/offline-store/{group.name}-{created}/data"


def test_a_group_can_be_named_by_its_arn(group: Group) -> None:
    arn = group.describe()["FeatureGroupArn"]
    assert group.sagemaker.describe_feature_group(FeatureGroupName=arn)["FeatureGroupName"] == group.name


def test_the_offline_store_has_a_glue_table_with_partitions_by_hour(group: Group) -> None:
    catalog = group.describe()["OfflineStoreConfig"]["DataCatalogConfig"]
    assert catalog["Database"] == "sagemaker_featurestore"
    table = client("glue").get_table(DatabaseName=catalog["Database"], Name=catalog["TableName"])["Table"]
    assert [key["Name"] for key in table["PartitionKeys"]] == ["year", "month", "day", "hour"]
    columns = {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}
    added = {"write_time": "timestamp", "api_invocation_time": "timestamp", "is_deleted": "boolean"}
    assert columns == {"record_id": "string", "event_time": "string", "count": "bigint", "mean": "double"} | added


def test_a_name_that_is_taken_is_refused(group: Group) -> None:
    with pytest.raises(group.sagemaker.exceptions.ResourceInUse):
        group.create()


def test_groups_are_listed_by_name_and_status(group: Group) -> None:
    listed = group.sagemaker.list_feature_groups(NameContains=group.name, FeatureGroupStatusEquals="Created")
    names = [summary["FeatureGroupName"] for summary in listed["FeatureGroupSummaries"]]
    assert group.name in names
    none = group.sagemaker.list_feature_groups(NameContains=group.name, OfflineStoreStatusEquals="Blocked")
    assert none["FeatureGroupSummaries"] == []


def test_a_feature_that_is_added_can_be_put_and_queried(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z", count="1")
    until(lambda: group.query('SELECT "count" FROM {table}') == [("1",)])
    addition = {"FeatureName": "extra", "FeatureType": "Integral"}
    group.sagemaker.update_feature_group(FeatureGroupName=group.name, FeatureAdditions=[addition])
    assert group.describe()["LastUpdateStatus"] == {"Status": "Successful"}
    group.put(record_id="b", event_time="2026-11-21T10:00:00Z", extra="7")
    until(lambda: sorted(group.query("SELECT record_id, extra FROM {table}")) == [("a", None), ("b", "7")])


def test_a_feature_is_described(group: Group) -> None:
    found = group.sagemaker.describe_feature_metadata(FeatureGroupName=group.name, FeatureName="mean")
    assert found["FeatureType"] == "Fractional"


def test_a_deleted_group_is_gone_and_its_files_and_table_stay(sagemaker: Service, bucket: str) -> None:
    group = Group(new_name()).create()
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    settings = group.describe()["OfflineStoreConfig"]
    group.sagemaker.delete_feature_group(FeatureGroupName=group.name)

    def is_gone() -> bool:
        try:
            return group.describe()["FeatureGroupStatus"] != "Deleting"
        except group.sagemaker.exceptions.ResourceNotFound:
            return True

    until(is_gone)
    with pytest.raises(group.sagemaker.exceptions.ResourceNotFound):
        group.describe()
    prefix = settings["S3StorageConfig"]["ResolvedOutputS3Uri"].removeprefix(f"s3://{BUCKET}/")
    assert client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"] == 1
    catalog = settings["DataCatalogConfig"]
    client("glue").get_table(DatabaseName=catalog["Database"], Name=catalog["TableName"])


def test_a_group_made_again_begins_empty(sagemaker: Service, bucket: str) -> None:
    group = Group(new_name()).create()
    group.put(record_id="a", event_time="2026-11-21T10:00:00Z")
    group.sagemaker.delete_feature_group(FeatureGroupName=group.name)
    until(lambda: not group.sagemaker.list_feature_groups(NameContains=group.name)["FeatureGroupSummaries"])
    assert group.create().get("a") is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"RecordIdentifierFeatureName": "none"}, "RecordIdentifierFeatureName \\[none\\] is not in"),
        ({"EventTimeFeatureName": "count"}, "EventTimeFeatureName must be one of: String, Fractional"),
        ({"FeatureDefinitions": [*DEFINITIONS, DEFINITIONS[0]]}, "given more than once"),
        ({"FeatureDefinitions": [*DEFINITIONS, {"FeatureName": "is_deleted", "FeatureType": "String"}]}, "reserved"),
        ({"FeatureGroupName": "not a name"}, "regular expression"),
        (
            {"OnlineStoreConfig": {"EnableOnlineStore": True, "TtlDuration": {"Unit": "Days", "Value": 1}}},
            "TtlDuration",
        ),
    ],
)
def test_a_wrong_group_is_refused_with_its_reason(
    sagemaker: Service, bucket: str, wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ClientError, match=reason):
        Group(new_name()).sagemaker.create_feature_group(**group_settings(new_name()) | wrong)


def test_a_group_without_any_store_is_refused(sagemaker: Service) -> None:
    settings = group_settings(new_name())
    del settings["OnlineStoreConfig"], settings["OfflineStoreConfig"]
    with pytest.raises(ClientError, match="Either OnlineStoreConfig or OfflineStoreConfig"):
        client("sagemaker").create_feature_group(**settings)
