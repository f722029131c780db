"""The programs of a fleet: started together, found again after a restart, drained and stopped."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.sagemaker.context import Context
from local.sagemaker.images import find_image
from local.sagemaker.logs import LogShipper
from local.sagemaker.models import container_of
from local.sagemaker.places import Program
from local.sagemaker.registry import Json
from local.sagemaker.serving import adopt_server, start_server
from local.sagemaker.traffic import Fleet, Variant

_STOP_SECONDS = 2.0
_DRAIN_SECONDS = 60.0


def launch(context: Context, endpoint: str, config: Json, check: Callable[[], None]) -> Fleet:
    """Starts all variants of an endpoint configuration; returns when every one is healthy, and leaves none when one
    fails. Raises `NotServed`, `UnknownImage`, `StorageError` or what `check` raises."""
    definitions = [(item, False) for item in config["ProductionVariants"]]
    definitions += [(item, True) for item in config.get("ShadowProductionVariants", [])]
    started: list[Variant] = []

    def start(definition: tuple[Json, bool]) -> Variant:
        variant = _start(context, endpoint, *definition)
        started.append(variant)
        seconds = definition[0].get("ContainerStartupHealthCheckTimeoutInSeconds")
        variant.server.await_healthy(check, seconds)
        return variant

    try:
        with ThreadPoolExecutor(len(definitions)) as pool:
            return Fleet(config, list(pool.map(start, definitions)))
    except BaseException:
        stop(started)
        raise


def restart(context: Context, endpoint: str, fleet: Fleet, check: Callable[[], None]) -> list[Variant]:
    """The fleet's variants with those started anew whose programs have ended by themselves. Raises as `launch`."""
    ended = {variant.name for variant in fleet.variants if variant.has_ended}
    part = {
        kind: [item for item in fleet.config.get(kind, []) if item["VariantName"] in ended]
        for kind in ("ProductionVariants", "ShadowProductionVariants")
    }
    started = launch(context, endpoint, {**fleet.config, **part}, check).variants if ended else []
    anew = {variant.name: variant for variant in started}
    return [anew.get(variant.name, variant) for variant in fleet.variants]


def adopt(context: Context, endpoint: str, note: Json, running: Mapping[Path, Program]) -> Fleet | None:
    """The fleet that an earlier server left running, if all of it is still healthy."""
    found = [_adopt(context, endpoint, variant, running) for variant in note["variants"]]
    variants = [variant for variant in found if variant is not None]
    return Fleet(note["config"], variants, note["share"]) if len(variants) == len(found) else None


def _adopt(context: Context, endpoint: str, note: Json, running: Mapping[Path, Program]) -> Variant | None:
    name, folder = note["name"], _folder(context, endpoint) / note["folder"]
    program = running.get(folder)
    if program is None:
        return None
    server = adopt_server(context.place, program)
    if not context.place.tends and not server.healthy():
        return None
    return Variant(name, note["weight"], folder, server, _logs(endpoint, name, folder), note["is_shadow"])


def drain(variants: Iterable[Variant]) -> None:
    """Stops variants that get no more requests, once they have answered those that they have."""
    leaving = list(variants)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while any(variant.requests for variant in leaving) and time.monotonic() < deadline:
        time.sleep(0.02)
    stop(leaving)


def stop(variants: Iterable[Variant]) -> None:
    """Stops the programs, all at once; their last log is sent and their folders are deleted."""
    leaving = list(variants)
    for variant in leaving:
        variant.server.program.terminate()
    for variant in leaving:
        variant.server.program.stop(_STOP_SECONDS)
        variant.logs.ship()
        shutil.rmtree(variant.folder, ignore_errors=True)


def stop_strays(context: Context, endpoint: str, kept: Iterable[Variant], running: Mapping[Path, Program]) -> None:
    """Stops what an earlier server left running for the endpoint, but for `kept`."""
    folders = [variant.folder for variant in kept]
    for folder, program in running.items():
        if folder.parent == _folder(context, endpoint) and folder not in folders:
            program.stop(_STOP_SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


def _start(context: Context, endpoint: str, definition: Json, is_shadow: bool) -> Variant:
    name = definition["VariantName"]
    container = container_of(context, definition["ModelName"])
    image = find_image(context.settings.images, container.image)
    folder = _folder(context, endpoint) / f"{name}-{uuid.uuid4().hex[:8]}"
    environment = {"ENDPOINT_NAME": endpoint, "VARIANT_NAME": name}
    server = start_server(
        context.place,
        folder,
        container,
        image,
        environment,
        instance=definition.get("InstanceType", ""),
        count=definition["InitialInstanceCount"],
    )
    return Variant(name, definition["InitialVariantWeight"], folder, server, _logs(endpoint, name, folder), is_shadow)


def _folder(context: Context, endpoint: str) -> Path:
    return context.settings.state / "endpoint" / endpoint


def _logs(endpoint: str, variant: str, folder: Path) -> LogShipper:
    return LogShipper(folder / "log", f"/aws/sagemaker/Endpoints/{endpoint}", f"{variant}/{folder.name}")
