"""Feature groups: their operations, and the service that makes them, deletes them and writes their offline store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from local.sagemaker import feature_store_offline as offline
from local.sagemaker.context import Context, now
from local.sagemaker.errors import NotImplementedHere, ResourceInUse, ResourceNotFound, ValidationException
from local.sagemaker.feature_store_data import FeatureData, WaitingRow
from local.sagemaker.feature_store_records import ADDED_COLUMNS, FeatureGroup
from local.sagemaker.registry import Json, operation, service
from local.sagemaker.resources import Kind, create, page
from local.sagemaker.store import Resource

KIND = Kind(
    arn="feature-group",
    prefix="FeatureGroup",
    missing="Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {name}",
    taken="Resource Already Exists: FeatureGroup with name {name} already exists. Choose a different name.",
)
_FLUSH_INTERVAL = 1.0
_EVENT_TIME_TYPES = ("String", "Fractional")

log = logging.getLogger(__name__)


@operation("CreateFeatureGroup")
def create_feature_group(context: Context, request: Json) -> Json:
    _check(request)
    created = now()
    document: Json = {
        "CreationTime": created,
        "LastModifiedTime": created,
        "FeatureGroupStatus": "Creating",
    }
    if "OfflineStoreConfig" in request:
        document["OfflineStoreConfig"] = _offline_settings(request, created)
        document["OfflineStoreStatus"] = {"Status": "Active"}
    answer = create(context, KIND, request, document, error=ResourceInUse)
    context.service(FeatureStore).wake()
    return answer


@operation("DescribeFeatureGroup")
def describe_feature_group(context: Context, request: Json) -> Json:
    # The service model requires a NextToken; a group's features fit one page.
    document = find(context, request["FeatureGroupName"]).document | {"NextToken": ""}
    if is_online(document):
        size = context.service(FeatureStore).data.online_size(stored_group(document).key)
        document["OnlineStoreTotalSizeBytes"] = size
    return document | {"NextToken": ""}  # the service model requires it


@operation("ListFeatureGroups")
def list_feature_groups(context: Context, request: Json) -> Json:
    documents = [resource.document for resource in context.store.all(KIND.arn)]
    for filter_name, field in (
        ("FeatureGroupStatusEquals", "FeatureGroupStatus"),
        ("OfflineStoreStatusEquals", "OfflineStoreStatus"),
    ):
        if filter_name in request:
            documents = [item for item in documents if _status(item, field) == request[filter_name]]
    return page("ListFeatureGroups", KIND, documents, request)


@operation("UpdateFeatureGroup")
def update_feature_group(context: Context, request: Json) -> Json:
    _refuse_lacking(request)
    additions = request.get("FeatureAdditions", [])

    def add(resource: Resource) -> None:
        _check_definitions(resource.document["FeatureDefinitions"] + additions)
        resource.document["FeatureDefinitions"] += additions
        resource.document["LastModifiedTime"] = now()
        resource.document["LastUpdateStatus"] = {"Status": "Successful"}

    name = find(context, request["FeatureGroupName"]).name
    changed = context.store.change(KIND.arn, name, add)
    if changed is not None and has_table(changed.document):
        offline.register_table(changed.document)
    return {"FeatureGroupArn": KIND.arn_of(name)}


@operation("DeleteFeatureGroup")
def delete_feature_group(context: Context, request: Json) -> Json:
    name = find(context, request["FeatureGroupName"]).name
    context.store.change(KIND.arn, name, lambda resource: resource.document.update(FeatureGroupStatus="Deleting"))
    context.service(FeatureStore).wake()
    return {}


@operation("DescribeFeatureMetadata")
def describe_feature_metadata(context: Context, request: Json) -> Json:
    document = find(context, request["FeatureGroupName"]).document
    for definition in document["FeatureDefinitions"]:
        if definition["FeatureName"] == request["FeatureName"]:
            fields = ("FeatureGroupArn", "FeatureGroupName", "CreationTime", "LastModifiedTime")
            return {field: document[field] for field in fields} | {
                "FeatureName": definition["FeatureName"],
                "FeatureType": definition["FeatureType"],
            }
    raise ResourceNotFound(f"Resource Not Found: FeatureName {request['FeatureName']} is not in the FeatureGroup")


def find(context: Context, name_or_arn: str) -> Resource:
    """The feature group of that name or ARN. Raises `ResourceNotFound`."""
    name = name_or_arn.rpartition("/")[2]
    resource = context.store.get(KIND.arn, name)
    if resource is None:
        raise ResourceNotFound(KIND.missing.format(name=name))
    return resource


def stored_group(document: Json) -> FeatureGroup:
    """What the stores need of the feature group that `document` describes."""
    settings = document.get("OfflineStoreConfig")
    return FeatureGroup(
        key=f"{document['FeatureGroupName']}@{document['CreationTime']}",
        name=document["FeatureGroupName"],
        record_id=document["RecordIdentifierFeatureName"],
        event_time=document["EventTimeFeatureName"],
        types={item["FeatureName"]: item["FeatureType"] for item in document["FeatureDefinitions"]},
        online=is_online(document),
        offline_uri=settings["S3StorageConfig"]["ResolvedOutputS3Uri"] if settings else None,
    )


def is_online(document: Json) -> bool:
    return bool(document.get("OnlineStoreConfig", {}).get("EnableOnlineStore"))


def has_table(document: Json) -> bool:
    return "OfflineStoreConfig" in document and not document["OfflineStoreConfig"]["DisableGlueTableCreation"]


@service
class FeatureStore:
    """Carries feature groups from Creating to Created and from Deleting to nothing, and writes what waits for the
    offline store every second, and at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.data = FeatureData(context.settings.state / "feature-store.db")
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feature-store", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        self._for_each("", self._write)
        self.data.close()

    def wake(self) -> None:
        """Makes the service look at the feature groups at once."""
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._woken.wait(_FLUSH_INTERVAL):
                self._woken.clear()
                self._stopping.wait(self._context.settings.step_seconds)
            self._for_each("Creating", self._make)
            self._for_each("", self._write)
            self._for_each("Deleting", self._remove)

    def _for_each(self, status: str, act: Callable[[Json], None]) -> None:
        """Lets `act` have each feature group in that status (any when it is empty); what fails is tried again."""
        for resource in self._context.store.all(KIND.arn):
            if status in ("", resource.document["FeatureGroupStatus"]):
                try:
                    act(resource.document)
                except Exception:
                    log.exception("the feature store failed", extra={"feature_group": resource.name, "doing": act})

    def _make(self, document: Json) -> None:
        status: Json = {"FeatureGroupStatus": "Created"}
        try:
            if has_table(document):
                offline.register_table(document)
        except Exception as error:
            status = {"FeatureGroupStatus": "CreateFailed", "FailureReason": str(error)[:1024]}
        self._set(document, status)

    def _write(self, document: Json) -> None:
        for number in self.data.batches(stored_group(document).key):
            # Read after the batch was closed: it may have a feature that was added meanwhile.
            document = find(self._context, document["FeatureGroupName"]).document
            group = stored_group(document)
            rows = self.data.batch(group.key, number)
            try:
                self._write_batch(document, group, number, rows)
            except Exception as error:
                self._set(document, {"OfflineStoreStatus": {"Status": "Blocked", "BlockedReason": str(error)[:1024]}})
                raise
            self.data.drop_batch(group.key, number)
            if document["OfflineStoreStatus"]["Status"] != "Active":
                self._set(document, {"OfflineStoreStatus": {"Status": "Active"}})

    @staticmethod
    def _write_batch(document: Json, group: FeatureGroup, number: int, rows: Sequence[WaitingRow]) -> None:
        offline.write_batch(group, number, rows)
        if has_table(document):
            offline.register_partitions(document, group, rows)

    def _remove(self, document: Json) -> None:
        """As on AWS the offline store's files and their table stay."""
        self.data.forget(stored_group(document).key)
        KIND.delete(self._context, document["FeatureGroupName"])

    def _set(self, document: Json, fields: Json) -> None:
        document.update(fields)
        self._context.store.change(
            KIND.arn, document["FeatureGroupName"], lambda resource: resource.document.update(fields)
        )


def _check(request: Json) -> None:
    _refuse_lacking(request)
    definitions = request["FeatureDefinitions"]
    _check_definitions(definitions)
    types = {item["FeatureName"]: item["FeatureType"] for item in definitions}
    for field in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if request[field] not in types:
            raise ValidationException(f"Validation Error: {field} [{request[field]}] is not in FeatureDefinitions")
    if types[request["EventTimeFeatureName"]] not in _EVENT_TIME_TYPES:
        raise ValidationException(
            f"Validation Error: FeatureType of EventTimeFeatureName must be one of: {', '.join(_EVENT_TIME_TYPES)}"
        )
    if not is_online(request) and "OfflineStoreConfig" not in request:
        raise ValidationException("Validation Error: Either OnlineStoreConfig or OfflineStoreConfig must be specified")
    if "OfflineStoreConfig" in request and "RoleArn" not in request:
        raise ValidationException("Validation Error: RoleArn is required if OfflineStoreConfig is specified")


def _check_definitions(definitions: list[Json]) -> None:
    seen: set[str] = set()
    for definition in definitions:
        name = definition["FeatureName"].lower()
        if name in ADDED_COLUMNS:
            raise ValidationException(f"Validation Error: FeatureName [{name}] is reserved")
        if name in seen:
            raise ValidationException(f"Validation Error: FeatureName [{name}] is given more than once")
        seen.add(name)


def _refuse_lacking(request: Json) -> None:
    definitions = request.get("FeatureDefinitions", []) + request.get("FeatureAdditions", [])
    online, store = request.get("OnlineStoreConfig", {}), request.get("OfflineStoreConfig", {})
    lacking = {
        "collections": any("CollectionType" in item for item in definitions),
        "TtlDuration": "TtlDuration" in online,
        "TableFormat Iceberg": store.get("TableFormat") == "Iceberg",
    }
    for feature, asked in lacking.items():
        if asked:
            raise NotImplementedHere(f"local.sagemaker lacks Feature Store's {feature}")


def _offline_settings(request: Json, created: float) -> Json:
    """The request's settings, and what the service adds to them."""
    settings: Json = dict(request["OfflineStoreConfig"])
    name, storage = request["FeatureGroupName"], dict(settings["S3StorageConfig"])
    storage.setdefault("ResolvedOutputS3Uri", offline.data_uri(storage["S3Uri"], name, created))
    settings["S3StorageConfig"] = storage
    if not settings.setdefault("DisableGlueTableCreation", False):
        settings.setdefault(
            "DataCatalogConfig",
            {
                "TableName": offline.table_name(name, created),
                "Catalog": "AwsDataCatalog",
                "Database": offline.DEFAULT_DATABASE,
            },
        )
    return settings


def _status(document: Json, field: str) -> Any:
    value = document.get(field)
    return value.get("Status") if isinstance(value, dict) else value
