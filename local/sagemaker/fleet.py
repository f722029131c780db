"""The programs behind endpoints: which variants serve now and with which weights, and the shift to the next set."""

from __future__ import annotations

import random
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local.sagemaker.context import Context
from local.sagemaker.images import find_image
from local.sagemaker.logs import LogShipper
from local.sagemaker.models import container_of
from local.sagemaker.programs import Program
from local.sagemaker.registry import Json
from local.sagemaker.serving import Server, adopt_server, start_server

_STOP_SECONDS = 2.0
_DRAIN_SECONDS = 60.0


class NoVariant(Exception):
    """No variant can take a request; the message says why."""


@dataclass(eq=False)
class Variant:
    """A variant and the program that serves it, in `folder`; `weight` is its share of the requests."""

    name: str
    weight: float
    folder: Path
    server: Server
    logs: LogShipper
    requests: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether its program has ended by itself."""
        return self.server.program.wait(0)

    def note(self) -> Json:
        """What is kept of it in the store."""
        return {"name": self.name, "weight": self.weight, "folder": self.folder.name}


@dataclass(eq=False)
class Fleet:
    """The variants of one endpoint. `capture` is its DataCaptureConfig."""

    endpoint: str
    variants: list[Variant] = field(default_factory=list)
    capture: Json | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def take(self, target: str | None) -> Iterator[Variant]:
        """The variant for one request: `target`, or one by weight. It is not stopped meanwhile. Raises `NoVariant`."""
        with self.lock:
            variant = self._choose(target)
            variant.requests += 1
        try:
            yield variant
        finally:
            with self.lock:
                variant.requests -= 1

    def replace(self, variants: list[Variant], capture: Json | None) -> list[Variant]:
        """From now on `variants` get every request; those that did before are returned."""
        with self.lock:
            before, self.variants, self.capture = self.variants, variants, capture
        self.ready.set()
        return before

    def weigh(self, weights: Mapping[str, float]) -> None:
        with self.lock:
            for variant in self.variants:
                variant.weight = weights.get(variant.name, variant.weight)

    def _choose(self, target: str | None) -> Variant:
        if target is not None:
            named = [variant for variant in self.variants if variant.name == target]
            if not named:
                raise NoVariant(f"Variant {target} was not found for endpoint {self.endpoint}.")
            return named[0]
        weights = [variant.weight for variant in self.variants]
        if not sum(weights):
            raise NoVariant(f"All variants of endpoint {self.endpoint} have weight 0: name one as TargetVariant.")
        return random.choices(self.variants, weights)[0]  # noqa: S311 - a share of traffic, no secret


def launch(context: Context, endpoint: str, config: Json, check: Callable[[], None]) -> list[Variant]:
    """Starts all variants of an endpoint configuration; returns when every one is healthy, and leaves none when one
    fails. Raises `NotServed`, `UnknownImage`, `StorageError` or what `check` raises."""
    started: list[Variant] = []

    def start(definition: Json) -> None:
        variant = _start(context, endpoint, definition)
        started.append(variant)
        seconds = definition.get("ContainerStartupHealthCheckTimeoutInSeconds")
        variant.server.await_healthy(check, seconds)

    definitions = config["ProductionVariants"]
    try:
        with ThreadPoolExecutor(len(definitions)) as pool:
            list(pool.map(start, definitions))
    except BaseException:
        stop(started)
        raise
    order = [definition["VariantName"] for definition in definitions]
    return sorted(started, key=lambda variant: order.index(variant.name))


def adopt(context: Context, endpoint: str, note: Json, running: Mapping[Path, Program]) -> Variant | None:
    """The variant that an earlier server left running, if it is still healthy."""
    folder = _folder(context, endpoint) / note["folder"]
    program = running.get(folder)
    if program is None:
        return None
    server = adopt_server(program)
    if not server.healthy():
        return None
    return Variant(note["name"], note["weight"], folder, server, _logs(endpoint, note["name"], folder))


def drain(variants: list[Variant]) -> None:
    """Stops variants that get no more requests, once they have answered those that they have."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    while any(variant.requests for variant in variants) and time.monotonic() < deadline:
        time.sleep(0.02)
    stop(variants)


def stop(variants: list[Variant]) -> None:
    """Stops the programs, all at once; their last log is sent and their folders are deleted."""
    for variant in variants:
        variant.server.program.terminate()
    for variant in variants:
        variant.server.program.stop(_STOP_SECONDS)
        variant.logs.ship()
        shutil.rmtree(variant.folder, ignore_errors=True)


def stop_strays(context: Context, endpoint: str, kept: list[Variant], running: Mapping[Path, Program]) -> None:
    """Stops what an earlier server left running for the endpoint, but for `kept`."""
    folders = [variant.folder for variant in kept]
    for folder, program in running.items():
        if folder.parent == _folder(context, endpoint) and folder not in folders:
            program.stop(_STOP_SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


def _start(context: Context, endpoint: str, definition: Json) -> Variant:
    name = definition["VariantName"]
    container = container_of(context, definition["ModelName"])
    image = find_image(context.settings.images, container.image)
    folder = _folder(context, endpoint) / f"{name}-{uuid.uuid4().hex[:8]}"
    environment = {"ENDPOINT_NAME": endpoint, "VARIANT_NAME": name}
    server = start_server(folder, container, image, environment)
    return Variant(name, definition["InitialVariantWeight"], folder, server, _logs(endpoint, name, folder))


def _folder(context: Context, endpoint: str) -> Path:
    return context.settings.state / "endpoint" / endpoint


def _logs(endpoint: str, variant: str, folder: Path) -> LogShipper:
    return LogShipper(folder / "log", f"/aws/sagemaker/Endpoints/{endpoint}", f"{variant}/{folder.name}")
