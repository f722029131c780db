"""sagemaker-featurestore-runtime: records into both stores, and out of the online store."""

from __future__ import annotations

import time
from collections.abc import Sequence

from local.sagemaker.context import Context
from local.sagemaker.errors import NotImplementedHere, ServiceError
from local.sagemaker.feature_store import FeatureStore, find, stored_group
from local.sagemaker.feature_store_data import FeatureData
from local.sagemaker.feature_store_records import FeatureGroup, Row, ValidationError, deletion, read_record
from local.sagemaker.registry import Json, operation

RUNTIME = "sagemaker-featurestore-runtime"
_READY = ("Created", "CreateFailed")


class RecordsNotFound(ServiceError):
    """The runtime answers 404 where the control plane answers 400."""

    code = "ResourceNotFound"
    status = 404


@operation("PutRecord", RUNTIME)
def put_record(context: Context, request: Json) -> Json:
    _refuse_lacking(request)
    group = _group(context, request["FeatureGroupName"])
    row = read_record(group, request["Record"])
    _store(_data(context), group, row, _targets(group, request))
    return {}


@operation("DeleteRecord", RUNTIME)
def delete_record(context: Context, request: Json) -> Json:
    group, data = _group(context, request["FeatureGroupName"]), _data(context)
    row = deletion(group, request["RecordIdentifierValueAsString"], request["EventTime"])
    targets = _targets(group, request)
    if request.get("DeletionMode") == "HardDelete" and "OnlineStore" in targets:
        _delete_for_good(data, group, row, targets)
    else:
        _store(data, group, row, targets)
    return {}


@operation("GetRecord", RUNTIME)
def get_record(context: Context, request: Json) -> Json:
    _refuse_lacking(request)
    group = _group(context, request["FeatureGroupName"])
    names = request.get("FeatureNames")
    record = _record(_data(context), group, request["RecordIdentifierValueAsString"], names)
    return {"Record": record} if record is not None else {}


@operation("BatchGetRecord", RUNTIME)
def batch_get_record(context: Context, request: Json) -> Json:
    _refuse_lacking(request)
    records, errors = [], []
    for identifier in request["Identifiers"]:
        for record_id in identifier["RecordIdentifiersValueAsString"]:
            named = {"FeatureGroupName": identifier["FeatureGroupName"], "RecordIdentifierValueAsString": record_id}
            try:
                group = _group(context, identifier["FeatureGroupName"])
                record = _record(_data(context), group, record_id, identifier.get("FeatureNames"))
            except ServiceError as error:
                errors.append(named | {"ErrorCode": error.code, "ErrorMessage": str(error)})
                continue
            if record is not None:
                records.append(named | {"Record": record})
    return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": []}


def _group(context: Context, name_or_arn: str) -> FeatureGroup:
    """Raises `RecordsNotFound`, or `ValidationError` while the group isn't ready."""
    try:
        document = find(context, name_or_arn).document
    except ServiceError as error:
        raise RecordsNotFound(str(error)) from error
    if document["FeatureGroupStatus"] not in _READY:
        raise ValidationError(
            f"Validation Error: FeatureGroup [{document['FeatureGroupName']}] is in the state "
            f"{document['FeatureGroupStatus']}, not Created"
        )
    return stored_group(document)


def _targets(group: FeatureGroup, request: Json) -> Sequence[str]:
    """The stores that a call writes to: those it names, else all that the group has."""
    has = {"OnlineStore": group.online, "OfflineStore": group.offline_uri is not None}
    targets: Sequence[str] = request.get("TargetStores") or [store for store, there in has.items() if there]
    for store in targets:
        if not has[store]:
            raise ValidationError(f"Validation Error: FeatureGroup [{group.name}] has no {store}")
    return targets


def _store(data: FeatureData, group: FeatureGroup, row: Row, targets: Sequence[str]) -> None:
    with data.transaction():
        if "OnlineStore" in targets:
            data.put_online(group.key, row)
        if "OfflineStore" in targets:
            data.put_waiting(group.key, row, time.time())


def _delete_for_good(data: FeatureData, group: FeatureGroup, row: Row, targets: Sequence[str]) -> None:
    """A hard deletion is refused, and leaves no mark in the offline store, unless it is newer than the record."""
    with data.transaction():
        held = data.find(group.key, row.record_id)
        if held is not None and row.event_time_ms <= held.event_time_ms:
            raise ValidationError("Validation Error: EventTime must be later than that of the record to delete")
        data.remove_online(group.key, row.record_id)
        if "OfflineStore" in targets:
            data.put_waiting(group.key, row, time.time())


def _record(
    data: FeatureData, group: FeatureGroup, record_id: str, names: Sequence[str] | None
) -> list[dict[str, str]] | None:
    """The record in the online store, its features in the order of their definitions; None when there is none."""
    if not group.online:
        raise ValidationError(f"Validation Error: FeatureGroup [{group.name}] has no OnlineStore")
    unknown = set(names or ()) - set(group.types)
    if unknown:
        raise ValidationError(f"Validation Error: FeatureNames {sorted(unknown)} are not defined in the FeatureGroup")
    row = data.find(group.key, record_id)
    if row is None or row.is_deleted:
        return None
    return [
        {"FeatureName": name, "ValueAsString": row.values[name]}
        for name in group.types
        if name in row.values and (not names or name in names)
    ]


def _refuse_lacking(request: Json) -> None:
    for feature in ("TtlDuration", "ExpirationTimeResponse"):
        if request.get(feature) not in (None, "Disabled"):
            raise NotImplementedHere(f"local.sagemaker lacks Feature Store's {feature}")


def _data(context: Context) -> FeatureData:
    return context.service(FeatureStore).data
