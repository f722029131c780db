"""S3 buckets, DynamoDB tables, Glue's databases and crawlers, and Athena's workgroups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import Shape

from applier.kinds.core import Answer, Kind, Part, Spec, Update, call, call_if_there, model, pages, request_of
from loopcast.aws import region

_DELETED_AT_ONCE = 1000
_BUSY = ("CrawlerRunningException", "CrawlerStoppingException")


def _bucket_part(field: str, write: str, member: str, read: str, within: str) -> Part:
    return Part(field, write, member, read, within, {"Bucket": "Bucket"})


@dataclass(frozen=True, kw_only=True)
class _Bucket(Kind):
    def call_create(self, request: dict[str, Any]) -> None:
        # us-east-1 is the one region that a bucket's creation must not name.
        if region() != "us-east-1":
            request["CreateBucketConfiguration"] = {"LocationConstraint": region()}
        super().call_create(request)

    def empty(self, spec: Spec) -> str:
        keys = _versions(self.service, spec["Bucket"])
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            objects = {"Objects": keys[start : start + _DELETED_AT_ONCE], "Quiet": True}
            errors = call(self.service, "DeleteObjects", Bucket=spec["Bucket"], Delete=objects).get("Errors")
            if errors:
                raise RuntimeError(f"DeleteObjects: {errors[0]['Key']}: {errors[0]['Code']}: {errors[0]['Message']}")
        for upload in pages(self.service, "ListMultipartUploads", "Uploads[]", Bucket=spec["Bucket"]):
            keys_of_upload = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            call_if_there(self.service, "AbortMultipartUpload", Bucket=spec["Bucket"], **keys_of_upload)
        return f"{len(keys)} objects" if keys else ""


def _versions(service: str, bucket: str) -> list[dict[str, str]]:
    """Every version of every object, and the marks of deleted ones."""
    path = "[Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}"
    return pages(service, "ListObjectVersions", path, Bucket=bucket)


BUCKET = _Bucket(
    service="s3",
    name="Bucket",
    create="CreateBucket",
    read="HeadBucket",
    delete="DeleteBucket",
    key="Bucket",
    keys={"Bucket": "Bucket"},
    renames={"name": "Bucket"},
    fields=("Bucket",),
    parts=(
        _bucket_part(
            "Encryption",
            "PutBucketEncryption",
            "ServerSideEncryptionConfiguration",
            "GetBucketEncryption",
            "ServerSideEncryptionConfiguration",
        ),
        _bucket_part(
            "PublicAccessBlock",
            "PutPublicAccessBlock",
            "PublicAccessBlockConfiguration",
            "GetPublicAccessBlock",
            "PublicAccessBlockConfiguration",
        ),
        _bucket_part(
            "Versioning",
            "PutBucketVersioning",
            "VersioningConfiguration",
            "GetBucketVersioning",
            "@",
        ),
        _bucket_part(
            "Lifecycle",
            "PutBucketLifecycleConfiguration",
            "LifecycleConfiguration",
            "GetBucketLifecycleConfiguration",
            "@",
        ),
        _bucket_part("Policy", "PutBucketPolicy", "Policy", "GetBucketPolicy", "Policy"),
    ),
    arn="arn:aws:s3:::{name}",
    retried="OperationAborted",
)

TABLE = Kind(
    service="dynamodb",
    name="Table",
    create="CreateTable",
    read="DescribeTable",
    delete="DeleteTable",
    key="TableName",
    keys={"TableName": "TableName"},
    within="Table",
    answers={"BillingMode": "BillingModeSummary.BillingMode || 'PROVISIONED'"},
    fields=(
        *("TableName", "AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes", "GlobalSecondaryIndexes"),
        *("BillingMode", "ProvisionedThroughput", "StreamSpecification", "DeletionProtectionEnabled"),
    ),
    parts=(
        Part(
            "TimeToLive",
            "UpdateTimeToLive",
            "TimeToLiveSpecification",
            "DescribeTimeToLive",
            "TimeToLiveDescription.{AttributeName: AttributeName,"
            " Enabled: contains(['ENABLED', 'ENABLING'], TimeToLiveStatus)}",
            {"TableName": "TableName"},
        ),
    ),
    updates=(
        Update(
            "UpdateTable",
            frozenset({"BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled"}),
            request_of("TableName", "BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled"),
        ),
    ),
    status="TableStatus",
)


@dataclass(frozen=True, kw_only=True)
class _Database(Kind):
    """A Glue database: the spec is the API's DatabaseInput."""

    def shapes(self) -> dict[str, Shape]:
        members = model(self.service).shape_for("DatabaseInput").members
        return {name: members[name] for name in self.fields}

    def required(self) -> list[str]:
        return ["Name"]

    def call_create(self, request: dict[str, Any]) -> None:
        call(self.service, self.create, DatabaseInput=request)

    def empty(self, spec: Spec) -> str:
        tables = pages(self.service, "GetTables", "TableList[].Name", DatabaseName=spec["Name"])
        for table in tables:
            call_if_there(self.service, "DeleteTable", DatabaseName=spec["Name"], Name=table)
        return f"the tables {', '.join(tables)}" if tables else ""


# ACK's Glue controller has no kinds yet.
DATABASE = _Database(
    service="glue",
    name="Database",
    ours=True,
    create="CreateDatabase",
    read="GetDatabase",
    delete="DeleteDatabase",
    fields=("Name", "Description", "LocationUri", "Parameters"),
    key="Name",
    keys={"Name": "Name"},
    within="Database",
    updates=(
        Update(
            "UpdateDatabase",
            frozenset({"Description", "LocationUri", "Parameters"}),
            lambda spec, _: {"Name": spec["Name"], "DatabaseInput": dict(spec)},
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Crawler(Kind):
    """One that runs has to be stopped before it can be deleted, which takes it a while."""

    def remove(self, spec: Spec) -> None:
        found = self.find(spec)
        if found is not None and found.answer["State"] == "RUNNING":
            call_if_there(self.service, "StopCrawler", Name=spec["Name"])
        self._delete_unless_busy(spec)

    def is_gone(self, spec: Spec) -> bool:
        self._delete_unless_busy(spec)
        return super().is_gone(spec)

    def _delete_unless_busy(self, spec: Spec) -> None:
        try:
            super().remove(spec)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _BUSY:
                raise


_CRAWLER_FIELDS = (
    *("Role", "DatabaseName", "Description", "Targets", "Schedule", "TablePrefix"),
    *("RecrawlPolicy", "SchemaChangePolicy", "Configuration"),
)

# As for databases, ACK has none. Glue answers with the role's name, whatever it was given.
CRAWLER = _Crawler(
    service="glue",
    name="Crawler",
    ours=True,
    create="CreateCrawler",
    read="GetCrawler",
    delete="DeleteCrawler",
    fields=("Name", *_CRAWLER_FIELDS),
    key="Name",
    keys={"Name": "Name"},
    within="Crawler",
    answers={"Schedule": "Schedule.ScheduleExpression"},
    updates=(Update("UpdateCrawler", frozenset(_CRAWLER_FIELDS), lambda spec, _: dict(spec)),),
    retried="InvalidInputException: .*(role|Role)",
)


def _update_workgroup(spec: Spec, _: Answer) -> Mapping[str, Any]:
    changes = dict(spec.get("Configuration", {}))
    if "ResultConfiguration" in changes:
        changes["ResultConfigurationUpdates"] = changes.pop("ResultConfiguration")
    return {"WorkGroup": spec["Name"], "Description": spec.get("Description", ""), "ConfigurationUpdates": changes}


WORKGROUP = Kind(
    service="athena",
    name="WorkGroup",
    create="CreateWorkGroup",
    read="GetWorkGroup",
    delete="DeleteWorkGroup",
    key="Name",
    keys={"WorkGroup": "Name"},
    within="WorkGroup",
    fields=("Name", "Description", "Configuration"),
    updates=(Update("UpdateWorkGroup", frozenset({"Description", "Configuration"}), _update_workgroup),),
    status="State",
    ready=frozenset({"ENABLED", "DISABLED"}),
    with_delete={"RecursiveDeleteOption": True},
)
