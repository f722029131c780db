"""What the stack does where nothing else is said: its policy and its alarm, read from the manifests that set them."""

from __future__ import annotations

from pathlib import Path

import yaml

from components.run import Refused
from local.simulate.alarm import AlarmRule
from loopcast.feed import Feed
from operators.policies import RETRAINING, load_policies
from operators.retraining_spec import RetrainingSpec

MANIFESTS = Path(__file__).parents[2] / "manifests"
_ALARM = "loopcast-${FEED}-production-quantile-loss"


def retraining_policy(feed: Feed) -> RetrainingSpec:
    """The feed's policy in manifests/policies. Raises `Refused` when it has none."""
    specs = [policy.spec for policy in load_policies([MANIFESTS / "policies"]) if policy.kind is RETRAINING]
    found = next((spec for spec in specs if isinstance(spec, RetrainingSpec) and spec.feed == feed.name), None)
    if found is None:
        raise Refused(f"No RetrainingPolicy in {MANIFESTS / 'policies'} is for the feed {feed.name}: add one.")
    return found


def alarm_rule() -> AlarmRule:
    """The datapoints of the alarm on the quantile loss in production."""
    documents = yaml.safe_load_all((MANIFESTS / "aws" / "alarms.yaml").read_text())
    spec = next(document["spec"] for document in documents if document["spec"]["name"] == _ALARM)
    return AlarmRule(spec["datapointsToAlarm"], spec["evaluationPeriods"])
