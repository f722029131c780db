"""Lets a model run in the shadow of what a stage serves for a while, and compares both with what came."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.deploy_endpoint import memory
from components.deploy_endpoint.deploy_endpoint import capture
from components.deploy_endpoint.endpoint import Waiting, await_config, point, settled
from components.endpoint import invoke
from components.history import History
from components.jobs import short_name
from components.models import tags
from components.paired import Comparison
from components.read_features.read_features import read_newest
from components.roll_back.roll_back import reject
from components.run import Refused, Run, read, read_json, write_json
from components.shadow_endpoint.judge import answers, closed, judge, objection
from loopcast import aws
from loopcast.minute import WINDOW

_log = logging.getLogger(__name__)
_SHADOW = "Shadow"
_DAY = 86_400
_CAPTURE_SECONDS = 120.0


@dataclass(frozen=True)
class Phase:
    """The shadow `config` of the stage, which serves what `champion` serves and copies its requests to the model."""

    run: Run
    stage: str
    champion: str
    config: str
    waiting: Waiting

    @property
    def endpoint(self) -> str:
        return str(self.run.names.endpoint(self.stage))


def shadow(run: Run, stage: str, model: str, instance_type: str, event_seconds: float, waiting: Waiting) -> str:
    """Lets `model` run in the shadow of the stage for so many seconds of event time; the stage then serves again what
    it served. Returns what was found, a sentence.

    Raises `Refused` when the model was worse than the champion; its package is then rejected. Nothing is done where
    the stage serves nothing, or the model already. A run that is started again goes on with the phase it began.
    """
    _check_length(run, event_seconds)
    phase = _open(run, stage, model, instance_type, waiting)
    if phase is None:
        return "There is nothing to compare with."
    uri = run.uri(f"{stage}-shadow.json")
    found = _read(uri) or _run(phase, event_seconds, uri)
    reason = objection(found)
    if reason:
        config = memory.describe_config(phase.config)
        if found.difference is not None and config is not None:
            shadowed = {"ProductionVariants": config["ShadowProductionVariants"]}
            reject(shadowed, f"stopped in the shadow of {stage}: {reason}")
        raise Refused(f"The model did not stand its time in the shadow of {stage}. {reason}")
    return f"It was no worse than the champion in {found.windows} windows."


def _check_length(run: Run, event_seconds: float) -> None:
    least = (run.feed.forecast.steps + 1) * WINDOW.total_seconds()
    if not least <= event_seconds <= _DAY:
        raise Refused(f"shadow_seconds must be from {least:.0f}, so that a window closes, to {_DAY}, or 0 for none.")


def _open(run: Run, stage: str, model: str, instance_type: str, waiting: Waiting) -> Phase | None:
    endpoint = settled(run.names.endpoint(stage), waiting)
    if endpoint is None or endpoint["EndpointStatus"] != "InService":
        return None
    champion = memory.unshadowed(endpoint["EndpointConfigName"])
    config = memory.describe_config(champion)
    if config is None or config["ProductionVariants"][0]["ModelName"] == model:
        return None
    name = short_name(f"{run.names.endpoint(stage)}-{run.id}", "-shadow")
    if memory.describe_config(name) is None:
        _create_config(run, stage, name, config, {**config["ProductionVariants"][0], "ModelName": model}, instance_type)
    return Phase(run, stage, champion, name, waiting)


def _create_config(
    run: Run, stage: str, name: str, champion: Mapping[str, Any], variant: Mapping[str, Any], instance_type: str
) -> None:
    weight = champion["ProductionVariants"][0]["InitialVariantWeight"]
    shadowed = {**variant, "VariantName": _SHADOW, "InstanceType": instance_type, "InitialVariantWeight": weight}
    previous = memory.remember(run.names, stage, champion["EndpointConfigName"])
    aws.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=champion["ProductionVariants"][:1],
        ShadowProductionVariants=[shadowed],
        DataCaptureConfig=capture(run.names),
        Tags=[*tags(run.names, run=run.id), *previous],
    )


def _run(phase: Phase, event_seconds: float, uri: str) -> Comparison:
    point(phase.endpoint, phase.config)
    await_config(phase.endpoint, phase.config, phase.waiting)
    described = settled(phase.endpoint, phase.waiting) or {}
    since: datetime = described["LastModifiedTime"].astimezone(UTC)
    asked = _ask_until(phase, since.timestamp() + phase.waiting.clock.wall(event_seconds))
    point(phase.endpoint, phase.champion)
    await_config(phase.endpoint, phase.champion, phase.waiting)
    return Comparison(**read_json(write_json(uri, _compare(phase, since, asked).to_json())))


def _ask_until(phase: Phase, end: float) -> set[datetime]:
    """Asks the endpoint once a minute of event time until the wall time `end`; the first minutes of the forecasts."""
    clock, asked = phase.waiting.clock, set()
    while clock.now() < end:
        history = read_newest(phase.run.feed, phase.run.names)
        if history.end not in asked and _ask(phase, history):
            asked.add(history.end)
        clock.sleep(min(clock.wall(WINDOW.total_seconds()), max(0.0, end - clock.now())))
    return asked


def _ask(phase: Phase, history: History) -> bool:
    try:
        invoke(phase.run.feed, phase.run.names, phase.stage, history)
    except (BotoCoreError, ClientError, ValueError) as error:
        _log.warning("the champion did not answer: %s", error)
        return False
    return True


def _compare(phase: Phase, since: datetime, asked: set[datetime]) -> Comparison:
    """Compares once what was asked of windows that have closed has been captured, or that has had its time."""
    forecast, clock = phase.run.feed.forecast, phase.waiting.clock
    history = read_newest(phase.run.feed, phase.run.names)
    wanted, deadline = set(closed(asked, history, forecast.steps)), clock.monotonic() + _CAPTURE_SECONDS
    variant = _variant(phase.champion)
    while True:
        sides = {
            name: answers(_captured(phase, name, since), forecast.steps, forecast.quantiles)
            for name in (_SHADOW, variant)
        }
        if all(wanted <= side.keys() for side in sides.values()) or clock.monotonic() >= deadline:
            return judge(sides[_SHADOW], sides[variant], history, forecast.steps)
        clock.sleep(phase.waiting.poll_seconds)


def _variant(config: str) -> str:
    described = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    return str(described["ProductionVariants"][0]["VariantName"])


def _captured(phase: Phase, variant: str, since: datetime) -> Iterator[str]:
    """The lines that were captured of a variant since the phase began."""
    folder = f"{phase.run.names.capture_prefix}{phase.endpoint}/{variant}"
    hours = int((datetime.now(UTC) - since) // timedelta(hours=1)) + 2
    for hour in (since + timedelta(hours=number) for number in range(hours)):
        bucket, prefix = aws.split_s3(phase.run.names.s3(f"{folder}/{hour:%Y/%m/%d/%H}/"))
        pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in (item for page in pages for item in page.get("Contents", [])):
            if item["LastModified"] >= since.replace(microsecond=0):
                yield from read(f"s3://{bucket}/{item['Key']}").splitlines()


def _read(uri: str) -> Comparison | None:
    try:
        return Comparison(**read_json(uri))
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
        return None
