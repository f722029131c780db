"""Takes a stage back to what it served before, endpoint and threshold, and keeps out what was taken back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from components.deploy_endpoint import memory, scaling
from components.deploy_endpoint.endpoint import Waiting, await_config, delete, point, settled
from components.models import model_package
from components.run import Refused, Run, read_json, write_json
from loopcast import aws
from loopcast.names import Names

_log = logging.getLogger(__name__)
_LONGEST_REASON = 1024


@dataclass(frozen=True)
class Way:
    """From the configuration that a stage serves back to `target`, with the `threshold` ('' when none was kept) that
    held then; `package` is what the stage served, `earlier` what it will serve; '' for models not made of one."""

    config: str
    target: str
    threshold: str
    package: str
    earlier: str


def roll_back(run: Run, stage: str, package: str, reason: str, waiting: Waiting) -> dict[str, Any]:
    """Takes the stage back to the last configuration whose package is not rejected, and says what came of it.

    Where `package` is given and the stage does not serve it, nothing is done: it has been rolled back already. A run
    that is started again goes on with the way that it began. Raises `Refused` when there is nothing to go back to.
    """
    uri, endpoint = run.uri(f"{stage}-way.json"), run.names.endpoint(stage)
    way = _begun(uri)
    if way is None:
        found = _way(run.names, stage, waiting)
        if package and found.package != package:
            _log.info("%s does not serve %s: nothing to roll back", endpoint, package)
            return _outcome(run, stage, found.config, found.package, "")
        if not found.target:
            raise Refused(f"{endpoint} has served nothing before {found.config} that it could go back to.")
        way = Way(**read_json(write_json(uri, asdict(found))))
    _follow(run.names, stage, way, reason, waiting)
    return _outcome(run, stage, way.target, way.earlier, way.package)


def take_back(names: Names, stage: str, run_id: str, reason: str, waiting: Waiting) -> str:
    """Takes back what the deployment `run_id` did to the stage, and says so in a clause."""
    name, config = names.endpoint(stage), memory.config_name(names, stage, run_id)
    endpoint = settled(name, waiting)
    if endpoint is None or endpoint["EndpointConfigName"] != config:
        return "the endpoint was left as it is, because another run configured it"
    described = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    previous, threshold = memory.recall(described).previous, memory.recall(described).threshold
    if not previous:
        delete(name, waiting)
        reject(described, f"rolled back from {stage}: {reason}")
        return "the endpoint was deleted, because it served nothing before"
    way = Way(config, previous, threshold, "", "")
    _follow(names, stage, way, reason, waiting)
    return "the endpoint serves what it served before"


def reject(config: Mapping[str, Any], reason: str) -> None:
    """Rejects the model package of the described configuration, so that it is refused until it is approved anew."""
    arn = _package(config)
    if arn:
        aws.client("sagemaker").update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription=reason[:_LONGEST_REASON]
        )


def _begun(uri: str) -> Way | None:
    try:
        return Way(**read_json(uri))
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
        return None


def _way(names: Names, stage: str, waiting: Waiting) -> Way:
    """The way back from what the stage serves: past configurations whose package was rejected, and deleted ones.
    `target` is '' when there is none."""
    endpoint = settled(names.endpoint(stage), waiting)
    if endpoint is None:
        raise Refused(f"There is no endpoint {names.endpoint(stage)}: deploy a model to {stage} first.")
    config = current = _described(endpoint["EndpointConfigName"])
    package = _package(current)
    while True:
        known = memory.recall(config)
        if not known.previous:
            return Way(current["EndpointConfigName"], "", "", package, "")
        earlier = memory.describe_config(known.previous)
        if earlier is None:
            return Way(current["EndpointConfigName"], "", "", package, "")
        if not _is_rejected(earlier):
            target = earlier["EndpointConfigName"]
            return Way(current["EndpointConfigName"], target, known.threshold, package, _package(earlier))
        config = earlier


def _follow(names: Names, stage: str, way: Way, reason: str, waiting: Waiting) -> None:
    """Goes the way, or what is left of it: the endpoint first, then its threshold; then the package is rejected."""
    endpoint, left = names.endpoint(stage), _described(way.config)
    settled(endpoint, waiting)
    point(endpoint, way.target)
    await_config(endpoint, way.target, waiting)
    scaling.scale(names, stage)
    memory.restore_threshold(names, stage, way.threshold)
    memory.mark_rolled_back(left, reason or "asked for")
    reject(left, f"rolled back from {stage}: {reason or 'asked for'}")


def _described(config: str) -> dict[str, Any]:
    found = memory.describe_config(config)
    if found is None:
        raise Refused(f"The endpoint configuration {config} was deleted: deploy a model instead.")
    return found


def _package(config: Mapping[str, Any]) -> str:
    return model_package(config["ProductionVariants"][0]["ModelName"]) or ""


def _is_rejected(config: Mapping[str, Any]) -> bool:
    arn = _package(config)
    if not arn:
        return False
    package = aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    return bool(package.get("ModelApprovalStatus") == "Rejected")


def _outcome(run: Run, stage: str, config: str, package: str, rolled_back: str) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "feed": run.feed.name,
        "stage": stage,
        "endpoint": run.names.endpoint(stage),
        "endpoint_config": config,
        "model_package_arn": package,
        "rolled_back": rolled_back,
    }
