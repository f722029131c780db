"""EventBridge's buses and rules, and SQS queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.model import Shape

from applier.kinds.core import Found, Kind, Part, Spec, Update, call, call_if_there, model, request_of

EVENT_BUS = Kind(
    service="events",
    name="EventBus",
    create="CreateEventBus",
    read="DescribeEventBus",
    delete="DeleteEventBus",
    key="Name",
    keys={"Name": "Name"},
    fields=("Name",),
)

_RULE_KEYS = {"Rule": "Name", "EventBusName": "EventBusName"}


class _Targets(Part):
    """A rule's targets: PutTargets leaves alone those that it doesn't name."""

    def put(self, service: str, spec: Spec) -> None:
        wanted = {target["Id"] for target in spec[self.field]}
        superfluous = [target["Id"] for target in self.get(service, spec) or [] if target["Id"] not in wanted]
        if superfluous:
            call(service, "RemoveTargets", **self.parameters(spec), Ids=superfluous)
        answer = call(service, self.write, **self.parameters(spec), Targets=spec[self.field])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"PutTargets: {answer['FailedEntries'][0]['ErrorMessage']}")


@dataclass(frozen=True, kw_only=True)
class _Rule(Kind):
    def remove(self, spec: Spec) -> None:
        targets = self.parts[0].get(self.service, spec)
        if targets:
            keys = self.parts[0].parameters(spec)
            call(self.service, "RemoveTargets", **keys, Ids=[target["Id"] for target in targets])
        super().remove(spec)


RULE = _Rule(
    service="events",
    name="Rule",
    create="PutRule",
    read="DescribeRule",
    delete="DeleteRule",
    key="Name",
    keys={"Name": "Name", "EventBusName": "EventBusName"},
    fields=("Name", "EventBusName", "EventPattern", "ScheduleExpression", "State", "Description", "RoleArn"),
    parts=(_Targets("Targets", "PutTargets", "Targets", "ListTargetsByRule", "Targets", _RULE_KEYS),),
    updates=(
        Update(
            "PutRule",
            frozenset({"ScheduleExpression", "EventPattern", "State", "Description", "RoleArn"}),
            request_of(
                *("Name", "EventBusName", "EventPattern", "State", "Description", "RoleArn", "ScheduleExpression")
            ),
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Queue(Kind):
    """ACK writes a queue's attributes as fields, each as text."""

    def shapes(self) -> dict[str, Shape]:
        text = model(self.service).shape_for("String")
        return dict.fromkeys((*self.fields, *_attributes()), text)

    def find(self, spec: Spec) -> Found | None:
        url = self._url(spec)
        asked = ["All"]
        answer = url and call_if_there(self.service, self.read, QueueUrl=url, AttributeNames=asked)
        if not answer:
            return None
        return Found({**answer["Attributes"], "QueueName": spec["QueueName"]}, {"QueueUrl": url})

    def call_create(self, request: dict[str, Any]) -> None:
        attributes = {name: value for name, value in request.items() if name != "QueueName"}
        call(self.service, self.create, QueueName=request["QueueName"], Attributes=attributes)

    def can_change(self, name: str, spec: Spec, found: Found) -> bool:
        return name in _attributes() and name != "FifoQueue"

    def change(self, spec: Spec, found: Found, fields: frozenset[str]) -> None:
        attributes = {name: spec[name] for name in fields}
        call(self.service, "SetQueueAttributes", QueueUrl=found.answer["QueueUrl"], Attributes=attributes)

    def remove(self, spec: Spec) -> None:
        url = self._url(spec)
        if url:
            call_if_there(self.service, self.delete, QueueUrl=url)

    def _url(self, spec: Spec) -> str | None:
        answer = call_if_there(self.service, "GetQueueUrl", QueueName=spec["QueueName"])
        return answer["QueueUrl"] if answer else None


def _attributes() -> list[str]:
    counted = ("All", "QueueArn", "CreatedTimestamp", "LastModifiedTimestamp")
    names = model("sqs").shape_for("QueueAttributeName").enum
    return [name for name in names if name not in counted and not name.startswith("Approximate")]


QUEUE = _Queue(
    service="sqs",
    name="Queue",
    create="CreateQueue",
    read="GetQueueAttributes",
    delete="DeleteQueue",
    fields=("QueueName",),
    key="QueueName",
    keys={"QueueName": "QueueName"},
    retried="QueueDeletedRecently",
)
