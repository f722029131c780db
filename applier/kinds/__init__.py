"""The kinds of resources that manifests can declare."""

from __future__ import annotations

from applier.kinds.access import ROLE
from applier.kinds.alarms import COMPOSITE_ALARM, METRIC_ALARM
from applier.kinds.core import Kind
from applier.kinds.learning import FEATURE_GROUP, MODEL_PACKAGE_GROUP, REPOSITORY
from applier.kinds.messaging import EVENT_BUS, QUEUE, RULE
from applier.kinds.notifications import SUBSCRIPTION, TOPIC
from applier.kinds.operations import DASHBOARD, PARAMETER
from applier.kinds.storage import BUCKET, CRAWLER, DATABASE, TABLE, WORKGROUP
from applier.kinds.streaming import DELIVERY_STREAM, STREAM

KINDS: tuple[Kind, ...] = (
    BUCKET,
    COMPOSITE_ALARM,
    CRAWLER,
    DASHBOARD,
    DATABASE,
    DELIVERY_STREAM,
    EVENT_BUS,
    FEATURE_GROUP,
    METRIC_ALARM,
    MODEL_PACKAGE_GROUP,
    PARAMETER,
    QUEUE,
    REPOSITORY,
    ROLE,
    RULE,
    STREAM,
    SUBSCRIPTION,
    TABLE,
    TOPIC,
    WORKGROUP,
)


def kind_named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)
