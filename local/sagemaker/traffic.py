"""Which program gets a request: an endpoint's fleets share its traffic, and the variants of a fleet share the fleet's.

Requests are dealt out in turn rather than by chance, so that each share is met as exactly as whole requests allow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local.sagemaker.logs import LogShipper
from local.sagemaker.registry import Json
from local.sagemaker.serving import Server

_ROUNDING = 1e-9


class NoVariant(Exception):
    """No variant can take a request; the message says why."""


@dataclass(eq=False)
class Variant:
    """A variant and the program that serves it, in `folder`. `weight` is its share of the fleet's requests; a shadow
    answers nobody, and its weight beside the others' is the share of the requests that are copied to it."""

    name: str
    weight: float
    folder: Path
    server: Server
    logs: LogShipper
    is_shadow: bool = False
    requests: int = 0
    credit: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether its program has ended by itself."""
        return self.server.program.wait(0)

    @property
    def has_failed(self) -> bool:
        """Whether its program has ended by itself, also when its place has started it again."""
        return self.server.program.has_failed

    def note(self) -> Json:
        """What is kept of it in the store."""
        return {"name": self.name, "weight": self.weight, "folder": self.folder.name, "is_shadow": self.is_shadow}


@dataclass(eq=False)
class Fleet:
    """The variants that serve one endpoint configuration, and their share of the endpoint's requests."""

    config: Json
    variants: list[Variant]
    share: float = 1.0

    @property
    def serving(self) -> list[Variant]:
        return [variant for variant in self.variants if not variant.is_shadow]

    @property
    def shadows(self) -> list[Variant]:
        return [variant for variant in self.variants if variant.is_shadow]

    @property
    def capture(self) -> Json | None:
        """Its DataCaptureConfig."""
        capture: Json | None = self.config.get("DataCaptureConfig")
        return capture

    def note(self) -> Json:
        """What is kept of it in the store."""
        return {"config": self.config, "share": self.share, "variants": [variant.note() for variant in self.variants]}


@dataclass(frozen=True)
class Taken:
    """Who gets one request: `variant` of `fleet`, and a copy of it each of `shadows`, which are to be released."""

    fleet: Fleet
    variant: Variant
    shadows: Sequence[Variant]


@dataclass(eq=False)
class Traffic:
    """The fleets of one endpoint: the one that serves, and during a deployment the new one after it."""

    endpoint: str
    fleets: list[Fleet] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def variants(self) -> list[Variant]:
        """All variants of all fleets, shadows included."""
        return [variant for fleet in self.fleets for variant in fleet.variants]

    @contextmanager
    def take(self, target: str | None) -> Iterator[Taken]:
        """The variants for one request: one named `target`, or one by weight. They are not stopped meanwhile.
        Raises `NoVariant`."""
        with self.lock:
            taken = self._deal(target)
            for variant in (taken.variant, *taken.shadows):
                variant.requests += 1
        try:
            yield taken
        finally:
            self.release(taken.variant)

    def release(self, variant: Variant) -> None:
        """A request that the variant was given has its answer."""
        with self.lock:
            variant.requests -= 1

    def route(self, shares: Sequence[tuple[Fleet, float]]) -> None:
        """From now on these fleets get these shares of the requests, and no other gets any."""
        with self.lock:
            self.fleets = [fleet for fleet, _ in shares]
            for fleet, share in shares:
                fleet.share = share
            self._settle_accounts()
        self.ready.set()

    def weigh(self, fleet: Fleet, weights: Mapping[str, float]) -> None:
        with self.lock:
            for variant in fleet.variants:
                variant.weight = weights.get(variant.name, variant.weight)
            self._settle_accounts()

    def exchange(self, fleet: Fleet, variants: list[Variant]) -> None:
        """From now on the fleet consists of `variants`."""
        with self.lock:
            fleet.variants = variants

    def _settle_accounts(self) -> None:
        for variant in self.variants:
            variant.credit = 0.0

    def _deal(self, target: str | None) -> Taken:
        """Each variant earns its share of every request; the one that is owed most gets this one."""
        shares = self._shares(target)
        total = sum(shares.values())
        for variant, share in shares.items():
            variant.credit += share / total
        chosen = max((variant for variant in shares if shares[variant] > 0), key=lambda variant: variant.credit)
        chosen.credit -= 1
        fleet = next(fleet for fleet in self.fleets if chosen in fleet.variants)
        return Taken(fleet, chosen, _due_copies(fleet))

    def _shares(self, target: str | None) -> dict[Variant, float]:
        serving = [(fleet, variant) for fleet in self.fleets for variant in fleet.serving]
        if target is not None:
            named = {variant: fleet.share for fleet, variant in serving if variant.name == target}
            if not sum(named.values()):
                raise NoVariant(f"Variant {target} was not found for endpoint {self.endpoint}.")
            return named
        weights = {fleet: sum(variant.weight for variant in fleet.serving) for fleet in self.fleets}
        shares = {v: fleet.share * v.weight / weights[fleet] for fleet, v in serving if weights[fleet]}
        if not sum(shares.values()):
            raise NoVariant(f"All variants of endpoint {self.endpoint} have weight 0: name one as TargetVariant.")
        return shares


def _due_copies(fleet: Fleet) -> list[Variant]:
    """The shadows that get a copy of a request to the fleet."""
    weight = sum(variant.weight for variant in fleet.serving)
    due = []
    for shadow in fleet.shadows:
        shadow.credit += min(1.0, shadow.weight / weight) if weight else 1.0
        if shadow.credit > 1 - _ROUNDING:
            shadow.credit -= 1
            due.append(shadow)
    return due
