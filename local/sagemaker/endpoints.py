"""Endpoints: created, updated without downtime, kept alive, and deleted.

An endpoint's state lies in the store: its Describe document; in its notes the configuration that it serves, and
the programs behind it. A server that starts goes on with what was under way.
"""

from __future__ import annotations

import functools
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.sagemaker import endpoint_configs, fleet, programs
from local.sagemaker.context import Context, now
from local.sagemaker.errors import ValidationException
from local.sagemaker.fleet import Fleet
from local.sagemaker.images import UnknownImage
from local.sagemaker.programs import Program
from local.sagemaker.registry import Json, operation, service
from local.sagemaker.resources import Kind, create, describe, listing
from local.sagemaker.serving import NotServed
from local.sagemaker.storage import StorageError
from local.sagemaker.store import Resource

KIND = Kind(
    arn="endpoint",
    prefix="Endpoint",
    missing='Could not find endpoint "{arn}".',
    taken='Cannot create already existing endpoint "{arn}".',
    newest_first=True,
)
_SETTLED = ("InService", "Failed")
_WATCH_SECONDS = 0.5
_REVIVE_SECONDS = 5.0
_REPORTED = (
    "CurrentWeight",
    "DesiredWeight",
    "CurrentInstanceCount",
    "DesiredInstanceCount",
)

log = logging.getLogger(__name__)


class _Interrupted(Exception):
    """The server stops, or the endpoint is deleted."""


@operation("CreateEndpoint")
def create_endpoint(context: Context, request: Json) -> Json:
    _check_deployment(request)
    endpoint_configs.KIND.find(context, request["EndpointConfigName"])
    moment = now()
    document = {"EndpointStatus": "Creating", "CreationTime": moment, "LastModifiedTime": moment}
    answer = create(context, KIND, request, document)
    context.service(Endpoints).deploy(request["EndpointName"], request["EndpointConfigName"], {})
    return answer


@operation("DescribeEndpoint")
def describe_endpoint(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["EndpointName"])


@operation("ListEndpoints")
def list_endpoints(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListEndpoints", request)


@operation("UpdateEndpoint")
def update_endpoint(context: Context, request: Json) -> Json:
    _check_deployment(request)
    endpoint_configs.KIND.find(context, request["EndpointConfigName"])
    found = _begin(context, request["EndpointName"], "Updating")
    weights = _weights(found.document) if request.get("RetainAllVariantProperties") else {}
    context.service(Endpoints).deploy(request["EndpointName"], request["EndpointConfigName"], weights)
    return {"EndpointArn": found.document["EndpointArn"]}


@operation("UpdateEndpointWeightsAndCapacities")
def update_weights(context: Context, request: Json) -> Json:
    name = request["EndpointName"]
    known = {variant["VariantName"] for variant in KIND.find(context, name).document.get("ProductionVariants", [])}
    wanted = {change["VariantName"]: change for change in request["DesiredWeightsAndCapacities"]}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValidationException(f"The endpoint {name} has no variant {', '.join(unknown)}.")
    found = _begin(context, name, "Updating")
    context.service(Endpoints).weigh(name, wanted)
    return {"EndpointArn": found.document["EndpointArn"]}


@operation("DeleteEndpoint")
def delete_endpoint(context: Context, request: Json) -> Json:
    name = request["EndpointName"]
    KIND.find(context, name)
    context.store.change(KIND.arn, name, lambda resource: resource.document.update(EndpointStatus="Deleting"))
    context.service(Endpoints).delete(name)
    return {}


@service
class Endpoints:
    """The fleets of all endpoints, and the threads that change them: one change of an endpoint at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fleets: dict[str, Fleet] = {}
        self._changes: dict[str, threading.Lock] = {}
        self._threads: set[threading.Thread] = set()
        self._reviving: set[str] = set()
        self._closing = threading.Event()

    def start(self) -> None:
        running = programs.running(self._context.settings.state)
        for resource in self._context.store.all(KIND.arn):
            self._take_up(resource, running)
        self._run("endpoints", self._watch)

    def stop(self) -> None:
        self._closing.set()
        for thread in list(self._threads):
            thread.join(10)
        fleet.stop([variant for one in self._fleets.values() for variant in one.variants])

    def fleet(self, endpoint: str) -> Fleet | None:
        """The programs behind an endpoint that is in service, or will be."""
        return self._fleets.get(endpoint)

    def deploy(self, endpoint: str, config_name: str, weights: dict[str, float]) -> None:
        """Shifts the endpoint to a configuration, in a thread; `weights` win over the configuration's."""
        config = endpoint_configs.KIND.find(self._context, config_name).document
        variants = [
            {**variant, "InitialVariantWeight": weights.get(variant["VariantName"], variant["InitialVariantWeight"])}
            for variant in config["ProductionVariants"]
        ]
        config = {**config, "ProductionVariants": variants}
        self._change(endpoint, lambda resource: resource.notes.update(wanted=config))
        self._fleets.setdefault(endpoint, Fleet(endpoint))
        self._run(endpoint, lambda: self._deploy(endpoint, config))

    def weigh(self, endpoint: str, changes: dict[str, Json]) -> None:
        """Sets weights and counts, by the variants' names, in a thread."""
        self._change(endpoint, lambda resource: resource.notes.update(wanted=_reweighed(resource, changes)))
        self._run(endpoint, lambda: self._weigh(endpoint))

    def delete(self, endpoint: str) -> None:
        """Stops the endpoint's programs and forgets it, in a thread."""
        self._run(endpoint, lambda: self._delete(endpoint))

    def _deploy(self, endpoint: str, config: Json) -> None:
        try:
            self._closing.wait(self._context.settings.step_seconds)
            variants = fleet.launch(self._context, endpoint, config, lambda: self._check(endpoint))
        except _Interrupted:
            return
        except (NotServed, UnknownImage, StorageError, ValidationException) as error:
            self._fail(endpoint, str(error))
            return
        except Exception as error:
            log.exception("an endpoint failed within SageMaker", extra={"endpoint": endpoint})
            self._fail(endpoint, f"InternalServerError: {error!r}")
            return
        # First the traffic, then the store: who reads that the endpoint is in service meets the new variants. A server
        # that is killed in between finds the old ones still running, and shifts anew.
        before = self._fleets[endpoint].replace(variants, config.get("DataCaptureConfig"))
        self._change(endpoint, lambda resource: _serve(resource, config, variants))
        fleet.drain(before)

    def _fail(self, endpoint: str, reason: str) -> None:
        """A new endpoint fails; one that served before goes on serving what it served."""
        text = f"The endpoint's variants did not become healthy. {reason}"[:1024]
        self._change(endpoint, lambda resource: _roll_back(resource, text, "RollingBack"))
        self._closing.wait(self._context.settings.step_seconds)
        self._change(endpoint, lambda resource: _roll_back(resource, text, "InService"))

    def _weigh(self, endpoint: str) -> None:
        self._closing.wait(self._context.settings.step_seconds)
        config = KIND.find(self._context, endpoint).notes["wanted"]
        one = self._fleets[endpoint]
        one.weigh({variant["VariantName"]: variant["InitialVariantWeight"] for variant in config["ProductionVariants"]})
        self._change(endpoint, lambda resource: _serve(resource, config, one.variants))

    def _delete(self, endpoint: str) -> None:
        self._closing.wait(self._context.settings.step_seconds)
        gone = self._fleets.pop(endpoint, None)
        fleet.drain(gone.variants if gone else [])
        shutil.rmtree(self._context.settings.state / "endpoint" / endpoint, ignore_errors=True)
        KIND.delete(self._context, endpoint)

    def _take_up(self, resource: Resource, running: dict[Path, Program]) -> None:
        """Goes on with an endpoint of an earlier server."""
        endpoint, status = resource.name, resource.document["EndpointStatus"]
        one = self._fleets[endpoint] = Fleet(endpoint)
        notes = resource.notes.get("variants", [])
        adopted = [fleet.adopt(self._context, endpoint, note, running) for note in notes]
        kept = [variant for variant in adopted if variant is not None]
        kept = kept if len(kept) == len(notes) else []
        fleet.stop_strays(self._context, endpoint, kept, running)
        served = resource.notes.get("served")
        if kept and served:
            one.replace(kept, served.get("DataCaptureConfig"))
        elif served and status != "Deleting":
            self._run(endpoint, lambda: self._deploy_again(endpoint, served))
        if status == "Deleting":
            self.delete(endpoint)
        elif status in ("Creating", "Updating", "RollingBack"):
            self._run(endpoint, lambda: self._deploy(endpoint, resource.notes["wanted"]))

    def _deploy_again(self, endpoint: str, config: Json) -> None:
        """Starts what served before this server: its status doesn't change."""
        status = KIND.find(self._context, endpoint).document["EndpointStatus"]
        self._deploy(endpoint, config)
        if status != "InService":
            self._change(endpoint, lambda resource: resource.document.update(EndpointStatus=status))

    def _watch(self) -> None:
        """Sends logs away, and starts programs again that have ended by themselves."""
        while not self._closing.wait(_WATCH_SECONDS):
            for endpoint, one in list(self._fleets.items()):
                for variant in one.variants:
                    variant.logs.ship()
                if endpoint not in self._reviving and any(variant.has_ended for variant in one.variants):
                    self._reviving.add(endpoint)
                    self._run(endpoint, functools.partial(self._revive, endpoint, one))

    def _revive(self, endpoint: str, one: Fleet) -> None:
        """Starts the programs of the variants that have ended; when they fail, it is tried again a little later."""
        try:
            self._restart(endpoint, one)
        except _Interrupted:
            return
        except Exception as error:
            log.warning("programs can't be started again", extra={"endpoint": endpoint, "reason": str(error)})
            self._closing.wait(_REVIVE_SECONDS)
        finally:
            self._reviving.discard(endpoint)

    def _restart(self, endpoint: str, one: Fleet) -> None:
        ended = [variant.name for variant in one.variants if variant.has_ended]
        self._check(endpoint)
        if not ended:
            return  # a change of the endpoint came first
        log.warning("programs have ended by themselves", extra={"endpoint": endpoint, "variants": ended})
        served = KIND.find(self._context, endpoint).notes["served"]
        config = {
            **served,
            "ProductionVariants": [v for v in served["ProductionVariants"] if v["VariantName"] in ended],
        }
        started = fleet.launch(self._context, endpoint, config, lambda: self._check(endpoint))
        variants = started + [variant for variant in one.variants if variant.name not in ended]
        self._change(endpoint, lambda resource: _note_variants(resource, variants))
        fleet.stop([variant for variant in one.replace(variants, one.capture) if variant not in variants])

    def _check(self, endpoint: str) -> None:
        resource = self._context.store.get(KIND.arn, endpoint)
        if self._closing.is_set() or resource is None or resource.document["EndpointStatus"] == "Deleting":
            raise _Interrupted

    def _change(self, endpoint: str, function: Callable[[Resource], None]) -> Resource | None:
        return self._context.store.change(KIND.arn, endpoint, function)

    def _run(self, endpoint: str, work: Callable[[], None]) -> None:
        lock = self._changes.setdefault(endpoint, threading.Lock())

        def locked() -> None:
            with lock:
                work()
            self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=locked, name=f"endpoint/{endpoint}", daemon=True)
        self._threads.add(thread)
        thread.start()


def _begin(context: Context, name: str, status: str) -> Resource:
    """Sets a status that says that a change is under way. Raises `ValidationException` when another is."""
    with context.store.transaction():
        found = KIND.find(context, name)
        current = found.document["EndpointStatus"]
        if current not in _SETTLED:
            raise ValidationException(f'Cannot update in-progress endpoint "{found.document["EndpointArn"]}".')
        fields = {"EndpointStatus": status, "LastModifiedTime": now()}
        context.store.change(KIND.arn, name, lambda resource: resource.document.update(fields))
        return found


def _serve(resource: Resource, config: Json, variants: list[fleet.Variant]) -> None:
    """The endpoint serves `config` by `variants` from now on."""
    if resource.document["EndpointStatus"] == "Deleting":
        return
    document = resource.document
    document.pop("FailureReason", None)
    document.pop("DataCaptureConfig", None)
    document.update(
        EndpointConfigName=config["EndpointConfigName"],
        EndpointStatus="InService",
        LastModifiedTime=now(),
        ProductionVariants=[_summary(variant) for variant in config["ProductionVariants"]],
        **_capture_summary(config.get("DataCaptureConfig")),
    )
    resource.notes["served"] = config
    _note_variants(resource, variants)


def _note_variants(resource: Resource, variants: list[fleet.Variant]) -> None:
    resource.notes["variants"] = [variant.note() for variant in variants]


def _summary(variant: Json) -> Json:
    """A ProductionVariantSummary."""
    weight, count = float(variant["InitialVariantWeight"]), variant["InitialInstanceCount"]
    values: tuple[Any, ...] = (weight, weight, count, count)
    return {"VariantName": variant["VariantName"], **dict(zip(_REPORTED, values, strict=True))}


def _capture_summary(config: Json | None) -> Json:
    if config is None:
        return {}
    enabled = config.get("EnableCapture", True)
    summary = {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }
    return {"DataCaptureConfig": summary}


def _roll_back(resource: Resource, reason: str, status: str) -> None:
    if resource.document["EndpointStatus"] != "Deleting":
        status = status if "served" in resource.notes else "Failed"
        resource.document.update(EndpointStatus=status, FailureReason=reason, LastModifiedTime=now())


def _reweighed(resource: Resource, changes: dict[str, Json]) -> Json:
    """The configuration that is served, with other weights and counts."""
    served: Json = resource.notes["served"]
    variants = [
        {**variant, **_initial(changes.get(variant["VariantName"], {}))} for variant in served["ProductionVariants"]
    ]
    return {**served, "ProductionVariants": variants}


def _initial(change: Json) -> Json:
    names = {"DesiredWeight": "InitialVariantWeight", "DesiredInstanceCount": "InitialInstanceCount"}
    return {names[name]: value for name, value in change.items() if name in names}


def _weights(document: Json) -> dict[str, float]:
    return {variant["VariantName"]: variant["DesiredWeight"] for variant in document.get("ProductionVariants", [])}


def _check_deployment(request: Json) -> None:
    """Traffic shifts all at once here: what asks for another way is refused, rather than ignored."""
    policy = request.get("DeploymentConfig", {})
    routing = policy.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    if "RollingUpdatePolicy" in policy or routing.get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE":
        raise ValidationException("DeploymentConfig: this SageMaker knows only BlueGreenUpdatePolicy ALL_AT_ONCE.")
