"""The CloudWatch alarms that a deployment is rolled back by."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker.errors import ValidationException
from loopcast import aws

_TYPES = ("MetricAlarm", "CompositeAlarm")

log = logging.getLogger(__name__)


def check_known(names: Sequence[str]) -> None:
    """Raises `ValidationException` when one of the alarms, metric or composite, does not exist or can't be read."""
    try:
        known = {alarm["AlarmName"] for alarm in _describe(names)}
    except (BotoCoreError, ClientError) as error:
        raise ValidationException(f"The alarms {', '.join(names)} can't be read: {error}") from error
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValidationException(f"Could not find the CloudWatch alarms {', '.join(unknown)}.")


def breached(names: Sequence[str]) -> list[str]:
    """Those of the alarms that are in ALARM; none where CloudWatch doesn't answer, which is logged."""
    try:
        return [alarm["AlarmName"] for alarm in _describe(names) if alarm["StateValue"] == "ALARM"]
    except (BotoCoreError, ClientError) as error:
        log.warning("alarms can't be read", extra={"alarms": list(names), "reason": str(error)})
        return []


def _describe(names: Sequence[str]) -> Iterable[Any]:
    if not names:
        return []
    answer = aws.client("cloudwatch").describe_alarms(AlarmNames=list(names), AlarmTypes=list(_TYPES))
    return [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
