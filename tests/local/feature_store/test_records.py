"""Records: the online store holds the newest by event time, at once; what is wrong is refused as on AWS."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Service
from tests.local.feature_store.conftest import Group, new_name

TEN, ELEVEN, TWELVE = "2026-11-21T10:00:00Z", "2026-11-21T11:00:00.000Z", "2026-11-21T12:00:00Z"


def test_a_record_is_read_as_soon_as_it_is_put(group: Group) -> None:
    record = {"record_id": "a#1", "event_time": TEN, "count": "9223372036854775807", "mean": "0.1"}
    group.put(**record)
    assert group.get("a#1") == record


def test_a_record_that_was_never_put_is_none(group: Group) -> None:
    assert group.get("never") is None


def test_a_newer_event_time_replaces_and_an_older_one_does_not(group: Group) -> None:
    group.put(record_id="a", event_time=ELEVEN, count="1")
    group.put(record_id="a", event_time=TWELVE, count="2")
    group.put(record_id="a", event_time=TEN, count="3")
    assert group.get("a") == {"record_id": "a", "event_time": TWELVE, "count": "2"}


def test_a_millisecond_more_is_newer(group: Group) -> None:
    group.put(record_id="a", event_time="2026-11-21T10:00:00.000Z", count="1")
    group.put(record_id="a", event_time="2026-11-21T10:00:00.001Z", count="2")
    assert (group.get("a") or {})["count"] == "2"


def test_only_the_features_asked_for_are_answered(group: Group) -> None:
    group.put(record_id="a", event_time=TEN, count="1", mean="2.5")
    assert group.get("a", FeatureNames=["mean", "count"]) == {"count": "1", "mean": "2.5"}
    with pytest.raises(ClientError, match="not defined"):
        group.get("a", FeatureNames=["none"])


def test_a_deleted_record_is_none_until_a_newer_one_comes(group: Group) -> None:
    group.put(record_id="a", event_time=ELEVEN)
    group.delete_record("a", TWELVE)
    assert group.get("a") is None
    group.put(record_id="a", event_time=ELEVEN)
    assert group.get("a") is None
    group.put(record_id="a", event_time="2026-11-21T13:00:00Z")
    assert group.get("a") is not None


def test_a_deletion_older_than_the_record_does_not_delete_it(group: Group) -> None:
    group.put(record_id="a", event_time=ELEVEN)
    group.delete_record("a", TEN)
    assert group.get("a") is not None
    with pytest.raises(ClientError, match="EventTime must be later") as refused:
        group.delete_record("a", TEN, DeletionMode="HardDelete")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_a_record_deleted_for_good_can_come_again_at_any_event_time(group: Group) -> None:
    group.put(record_id="a", event_time=ELEVEN)
    group.delete_record("a", TWELVE, DeletionMode="HardDelete")
    group.put(record_id="a", event_time=TEN)
    assert group.get("a") == {"record_id": "a", "event_time": TEN}


def test_a_batch_answers_what_is_there_and_names_what_is_wrong(group: Group) -> None:
    group.put(record_id="a", event_time=TEN, count="1")
    answer = group.runtime.batch_get_record(
        Identifiers=[
            {"FeatureGroupName": group.name, "RecordIdentifiersValueAsString": ["a", "b"], "FeatureNames": ["count"]},
            {"FeatureGroupName": "none", "RecordIdentifiersValueAsString": ["a"]},
        ]
    )
    assert [item["RecordIdentifierValueAsString"] for item in answer["Records"]] == ["a"]
    assert answer["Records"][0]["Record"] == [{"FeatureName": "count", "ValueAsString": "1"}]
    assert [(item["FeatureGroupName"], item["ErrorCode"]) for item in answer["Errors"]] == [
        ("none", "ResourceNotFound")
    ]
    assert answer["UnprocessedIdentifiers"] == []


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"event_time": TEN}, "required feature \\[record_id\\]"),
        ({"record_id": "a"}, "required feature \\[event_time\\]"),
        ({"record_id": "", "event_time": TEN}, "required feature \\[record_id\\]"),
        ({"record_id": "a", "event_time": TEN, "other": "1"}, "\\[other\\] is not defined"),
        ({"record_id": "a", "event_time": TEN, "count": "1.5"}, "not of type Integral"),
        ({"record_id": "a", "event_time": TEN, "count": "9223372036854775808"}, "not of type Integral"),
        ({"record_id": "a", "event_time": TEN, "mean": "much"}, "not of type Fractional"),
        ({"record_id": "a", "event_time": TEN, "mean": "nan"}, "not of type Fractional"),
        ({"record_id": "a", "event_time": "2026-11-21 10:00:00"}, "not in a supported format"),
        ({"record_id": "a", "event_time": "2026-11-21T10:00:00+01:00"}, "not in a supported format"),
        ({"record_id": "a", "event_time": "2026-13-21T10:00:00Z"}, "not in a supported format"),
    ],
)
def test_a_wrong_record_is_refused_with_its_reason(group: Group, record: dict[str, str], reason: str) -> None:
    with pytest.raises(ClientError, match=reason) as refused:
        group.put(**record)
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_a_feature_given_twice_is_refused(group: Group) -> None:
    twice = [{"FeatureName": "record_id", "ValueAsString": "a"}] * 2
    with pytest.raises(ClientError, match="more than once"):
        group.runtime.put_record(FeatureGroupName=group.name, Record=twice)


def test_the_models_own_rules_are_refused_under_the_runtimes_name_of_the_error(sagemaker: Service) -> None:
    with pytest.raises(ClientError, match="regular expression") as refused:
        Group("not a name").get("a")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_a_group_that_is_not_there_is_not_found(sagemaker: Service) -> None:
    nowhere = Group("nowhere")
    for call in (lambda: nowhere.get("a"), lambda: nowhere.put(record_id="a", event_time=TEN)):
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "ResourceNotFound"


def test_seconds_since_the_epoch_are_an_event_time_too(sagemaker: Service, bucket: str) -> None:
    definitions: list[dict[str, Any]] = [
        {"FeatureName": "record_id", "FeatureType": "Integral"},
        {"FeatureName": "event_time", "FeatureType": "Fractional"},
    ]
    group = Group(new_name()).create(FeatureDefinitions=definitions)
    group.put(record_id="1", event_time="1795255200.25")
    group.put(record_id="1", event_time="1795255200")
    assert group.get("1") == {"record_id": "1", "event_time": "1795255200.25"}


def test_a_group_without_an_online_store_is_not_read_from(sagemaker: Service, bucket: str) -> None:
    group = Group(new_name()).create(OnlineStoreConfig={"EnableOnlineStore": False})
    group.put(record_id="a", event_time=TEN)
    with pytest.raises(ClientError, match="has no OnlineStore"):
        group.get("a")


def test_a_record_goes_only_to_the_stores_it_is_put_to(group: Group) -> None:
    record = [{"FeatureName": "record_id", "ValueAsString": "a"}, {"FeatureName": "event_time", "ValueAsString": TEN}]
    group.runtime.put_record(FeatureGroupName=group.name, Record=record, TargetStores=["OfflineStore"])
    assert group.get("a") is None
