"""What the operator counts, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge

from operators.engine import Outcome
from operators.policies import Policy

_LABELS = ["kind", "policy"]
_looks = Counter("loopcast_operator_looks_total", "Looks at a policy", [*_LABELS, "reason"])
_launches = Counter("loopcast_operator_launches_total", "Runs launched", [*_LABELS, "pipeline", "trigger"])
_failures = Counter("loopcast_operator_failed_looks_total", "Looks that could not be finished", _LABELS)
_event_time = Gauge("loopcast_operator_event_time_seconds", "Event time of the last look, since 1970", _LABELS)


def decided(policy: Policy, outcome: Outcome[Any]) -> None:
    labels = (policy.kind.name, policy.name)
    _looks.labels(*labels, outcome.decision.reason).inc()
    _event_time.labels(*labels).set(outcome.now.timestamp())
    if outcome.run is not None:
        _launches.labels(*labels, outcome.run.pipeline, outcome.run.trigger).inc()


def failed(policy: Policy) -> None:
    _failures.labels(policy.kind.name, policy.name).inc()
