"""The way of one endpoint from what it serves to the configuration that its notes want: launch, shift, bake, finish;
or back. What has been reached stands in the store, so that the next server goes on from there."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from local.sagemaker import alarms, endpoint_state, fleet
from local.sagemaker.context import Context, now
from local.sagemaker.endpoint_state import KIND
from local.sagemaker.errors import ValidationException
from local.sagemaker.images import UnknownImage
from local.sagemaker.plan import Plan
from local.sagemaker.serving import NotServed
from local.sagemaker.storage import StorageError
from local.sagemaker.store import Resource
from local.sagemaker.traffic import Fleet, Traffic

_LOOK_SECONDS = 0.5

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The server stops, or the endpoint is deleted."""


class Abandoned(Exception):
    """The deployment is to be rolled back; the message says why."""


class Rollout:
    """One change of `traffic`'s endpoint. `check` raises `Interrupted`; `pause` waits so many seconds, or less when the
    server stops."""

    def __init__(
        self, context: Context, traffic: Traffic, check: Callable[[], None], pause: Callable[[float], object]
    ) -> None:
        self._context, self._traffic, self._endpoint = context, traffic, traffic.endpoint
        self._check, self._pause = check, pause
        notes = KIND.find(context, traffic.endpoint).notes
        self._plan = Plan()
        self._deadline = math.inf
        self._config, self._began = notes["wanted"], notes["began"]
        resumes = len(traffic.fleets) > 1
        self._step: int = notes["step"] if resumes else 0
        self._until: float | None = notes["until"] if resumes else None

    def run(self) -> None:
        """Ends with the endpoint in service by its new configuration, or by its old one and a FailureReason."""
        try:
            self._deploy(self._traffic.fleets[:1])
        except Interrupted:
            return
        except (NotServed, UnknownImage, StorageError, ValidationException) as error:
            self.go_back(f"The endpoint's variants did not become healthy. {error}")
        except Abandoned as error:
            self.go_back(str(error))
        except Exception as error:
            log.exception("an endpoint failed within SageMaker", extra={"endpoint": self._endpoint})
            self.go_back(f"InternalServerError: {error!r}")

    def go_back(self, reason: str) -> None:
        """The old fleet serves alone again, and the new one ends once it has answered what it was asked."""
        self._change(lambda resource: endpoint_state.roll_back(resource, reason))
        old, new = self._traffic.fleets[:1], self._traffic.fleets[1:]
        self._traffic.route([(one, 1.0) for one in old])
        self._pause(self._context.settings.step_seconds)
        self._change(endpoint_state.rolled_back)
        fleet.drain(variant for one in new for variant in one.variants)

    def _deploy(self, old: list[Fleet]) -> None:
        self._plan = endpoint_state.plan_of(KIND.find(self._context, self._endpoint))
        self._deadline = self._began + self._plan.limit_seconds
        new = self._traffic.fleets[1] if len(self._traffic.fleets) > 1 else self._launch()
        if old:
            self._hand_over(old[0], new)
        # First the traffic, then the store: who reads that the endpoint is in service meets the new variants. A server
        # that is killed in between finds the old ones still running, and goes on from the last step.
        self._traffic.route([(new, 1.0)])
        self._change(lambda resource: endpoint_state.serve(resource, new))
        fleet.drain(variant for one in old for variant in one.variants)

    def _launch(self) -> Fleet:
        self._pause(self._context.settings.step_seconds)
        return fleet.launch(self._context, self._endpoint, self._config, self._look)

    def _hand_over(self, old: Fleet, new: Fleet) -> None:
        for step in range(self._step, len(self._plan.shares)):
            self._bake(self._resumed() or self._shift(old, new, step))
        self._wait(now() + self._plan.termination_seconds)

    def _shift(self, old: Fleet, new: Fleet, step: int) -> float:
        """Gives the new fleet its next share of the traffic; returns when it has baked."""
        share, until = self._plan.shares[step], now() + self._plan.bake_seconds
        self._traffic.route([(old, 1.0 - share), (new, share)])
        self._change(lambda resource: self._note(resource, step, until, share))
        return until

    def _note(self, resource: Resource, step: int, until: float, share: float) -> None:
        resource.notes.update(step=step, until=until)
        endpoint_state.note_fleets(resource, self._traffic.fleets)
        endpoint_state.pend(resource, "Baking", share)

    def _resumed(self) -> float | None:
        """When the bake ends that an earlier server began."""
        until, self._until = self._until, None
        return until

    def _bake(self, until: float) -> None:
        while True:
            tripped = alarms.breached(self._plan.alarms)
            if tripped:
                raise Abandoned(f"One or more configured alarm(s) breached during deployment: {', '.join(tripped)}.")
            if now() >= until:
                return
            self._wait(min(until, now() + _LOOK_SECONDS))

    def _wait(self, until: float) -> None:
        while now() < until:
            self._look()
            self._mend()
            self._pause(min(_LOOK_SECONDS, max(0.0, until - now())))
        self._look()

    def _look(self) -> None:
        """Raises what ends the deployment early."""
        self._check()
        if now() > self._deadline:
            raise Abandoned(f"The deployment took longer than {self._plan.limit_seconds:.0f} seconds.")

    def _mend(self) -> None:
        """Starts old programs again that have ended by themselves; new ones must not."""
        *old, new = self._traffic.fleets
        ended = [variant.name for variant in new.variants if variant.has_failed]
        if ended:
            raise Abandoned(f"The programs of {', '.join(ended)} ended by themselves during deployment.")
        for one in old:
            mend(self._context, self._traffic, one, self._check)

    def _change(self, function: Callable[[Resource], None]) -> None:
        self._context.store.change(KIND.arn, self._endpoint, function)


def mend(context: Context, traffic: Traffic, one: Fleet, check: Callable[[], None]) -> None:
    """Starts those programs of a fleet again that have ended by themselves. Raises as `fleet.launch` does."""
    ended = [variant for variant in one.variants if variant.has_ended]
    if not ended:
        return
    names = [variant.name for variant in ended]
    log.warning("programs have ended by themselves", extra={"endpoint": traffic.endpoint, "variants": names})
    traffic.exchange(one, fleet.restart(context, traffic.endpoint, one, check))
    context.store.change(
        KIND.arn, traffic.endpoint, lambda resource: endpoint_state.note_fleets(resource, traffic.fleets)
    )
    fleet.stop(ended)
