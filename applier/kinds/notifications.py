"""SNS topics and their subscriptions. ACK writes the attributes of both as fields, each as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.model import Shape

from applier.kinds.core import Answer, Found, Kind, Spec, call, call_if_there, model, pages
from loopcast.aws import account, region


@dataclass(frozen=True, kw_only=True)
class _WithAttributes(Kind):
    """A kind whose `attributes` are written with a call each: `change_one` sets one of them."""

    attributes: tuple[str, ...]
    change_one: str

    def shapes(self) -> dict[str, Shape]:
        text = model(self.service).shape_for("attributeValue")
        return super().shapes() | dict.fromkeys(self.attributes, text)

    def call_create(self, request: dict[str, Any]) -> None:
        attributes = {name: value for name, value in request.items() if name in self.attributes}
        plain = {name: value for name, value in request.items() if name not in self.attributes}
        call(self.service, self.create, **plain, **self.with_create, Attributes=attributes)

    def can_change(self, name: str, spec: Spec, found: Found) -> bool:
        return name in self.attributes

    def change(self, spec: Spec, found: Found, fields: frozenset[str]) -> None:
        for name in sorted(fields):
            key = self.identifier(spec, found.answer)
            call(self.service, self.change_one, **key, AttributeName=name, AttributeValue=spec[name])

    def identifier(self, spec: Spec, answer: Answer) -> dict[str, str]:
        """The parameter that names the resource in the service's calls."""
        raise NotImplementedError

    @property
    def with_create(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class _Topic(_WithAttributes):
    def find(self, spec: Spec) -> Found | None:
        answer = call_if_there(self.service, self.read, **self.identifier(spec, {}))
        return Found({**answer["Attributes"], "Name": spec["Name"]}, answer) if answer else None

    def remove(self, spec: Spec) -> None:
        call_if_there(self.service, self.delete, **self.identifier(spec, {}))

    def identifier(self, spec: Spec, answer: Answer) -> dict[str, str]:
        return {"TopicArn": self.arn_of(spec["Name"], account(), region())}


@dataclass(frozen=True, kw_only=True)
class _Subscription(_WithAttributes):
    """A subscription is known by its topic, protocol and endpoint: its own ARN has an id that SNS gives."""

    def find(self, spec: Spec) -> Found | None:
        arn = self._arn(spec)
        if arn is None:
            return None
        if _is_pending(arn):  # SNS says nothing more of one that nobody has confirmed
            return Found(spec, {})
        attributes = call(self.service, self.read, SubscriptionArn=arn)["Attributes"]
        return Found({**attributes, **{name: spec[name] for name in self.fields}}, {"SubscriptionArn": arn})

    def remove(self, spec: Spec) -> None:
        arn = self._arn(spec)
        if arn and not _is_pending(arn):
            call_if_there(self.service, self.delete, SubscriptionArn=arn)

    def is_gone(self, spec: Spec) -> bool:
        """One that nobody has confirmed can't be deleted: it goes with its topic."""
        arn = self._arn(spec)
        return arn is None or _is_pending(arn)

    def identifier(self, spec: Spec, answer: Answer) -> dict[str, str]:
        return {"SubscriptionArn": answer["SubscriptionArn"]}

    @property
    def with_create(self) -> dict[str, Any]:
        return {"ReturnSubscriptionArn": True}

    def _arn(self, spec: Spec) -> str | None:
        topic = spec["TopicArn"]
        if call_if_there(self.service, "GetTopicAttributes", TopicArn=topic) is None:
            return None
        there = pages(self.service, "ListSubscriptionsByTopic", "Subscriptions[]", TopicArn=topic)
        wanted = (spec["Protocol"], spec["Endpoint"])
        matching = (str(item["SubscriptionArn"]) for item in there if (item["Protocol"], item["Endpoint"]) == wanted)
        return next(matching, None)


def _is_pending(arn: str) -> bool:
    return not arn.startswith("arn:")


TOPIC = _Topic(
    service="sns",
    name="Topic",
    create="CreateTopic",
    read="GetTopicAttributes",
    delete="DeleteTopic",
    fields=("Name",),
    key="Name",
    keys={},
    attributes=("DeliveryPolicy", "DisplayName", "KmsMasterKeyId", "Policy", "SignatureVersion", "TracingConfig"),
    change_one="SetTopicAttributes",
    arn="arn:aws:sns:{region}:{account}:{name}",
)

SUBSCRIPTION = _Subscription(
    service="sns",
    name="Subscription",
    create="Subscribe",
    read="GetSubscriptionAttributes",
    delete="Unsubscribe",
    fields=("TopicArn", "Protocol", "Endpoint"),
    key="Endpoint",
    keys={},
    attributes=(
        *("DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy"),
        "SubscriptionRoleArn",
    ),
    change_one="SetSubscriptionAttributes",
)
