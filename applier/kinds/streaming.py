"""Kinesis streams, and Firehose's delivery streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from applier.kinds.core import Answer, Kind, Spec, Update

STREAM = Kind(
    service="kinesis",
    name="Stream",
    create="CreateStream",
    read="DescribeStreamSummary",
    delete="DeleteStream",
    key="StreamName",
    keys={"StreamName": "StreamName"},
    within="StreamDescriptionSummary",
    answers={"ShardCount": "OpenShardCount"},
    renames={"name": "StreamName"},
    fields=("StreamName", "ShardCount", "StreamModeDetails"),
    updates=(
        Update(
            "UpdateShardCount",
            frozenset({"ShardCount"}),
            lambda spec, _: {
                "StreamName": spec["StreamName"],
                "TargetShardCount": spec["ShardCount"],
                "ScalingType": "UNIFORM_SCALING",
            },
        ),
    ),
    status="StreamStatus",
    arn="arn:aws:kinesis:{region}:{account}:stream/{name}",
    with_delete={"EnforceConsumerDeletion": True},
)


def _update_destination(spec: Spec, answer: Answer) -> Mapping[str, Any]:
    return {
        "DeliveryStreamName": spec["DeliveryStreamName"],
        "CurrentDeliveryStreamVersionId": answer["VersionId"],
        "DestinationId": answer["Destinations"][0]["DestinationId"],
        "ExtendedS3DestinationUpdate": spec["ExtendedS3DestinationConfiguration"],
    }


# ACK's DeliveryStream (firehose-controller 0.3) has neither a Kinesis source nor a destination in S3.
DELIVERY_STREAM = Kind(
    service="firehose",
    name="DeliveryStream",
    ours=True,
    create="CreateDeliveryStream",
    read="DescribeDeliveryStream",
    delete="DeleteDeliveryStream",
    key="DeliveryStreamName",
    keys={"DeliveryStreamName": "DeliveryStreamName"},
    within="DeliveryStreamDescription",
    answers={
        "KinesisStreamSourceConfiguration": "Source.KinesisStreamSourceDescription",
        "ExtendedS3DestinationConfiguration": "Destinations[0].ExtendedS3DestinationDescription",
    },
    fields=(
        "DeliveryStreamName",
        "DeliveryStreamType",
        "KinesisStreamSourceConfiguration",
        "ExtendedS3DestinationConfiguration",
    ),
    updates=(Update("UpdateDestination", frozenset({"ExtendedS3DestinationConfiguration"}), _update_destination),),
    status="DeliveryStreamStatus",
    failed=frozenset({"CREATING_FAILED", "DELETING_FAILED"}),
    retried="InvalidArgumentException: .*(role|Role)",
)
