"""Endpoints: created, updated without downtime, kept alive, and deleted."""

from __future__ import annotations

import functools
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from local.sagemaker import alarms, endpoint_configs, endpoint_state, fleet
from local.sagemaker.context import Context, now
from local.sagemaker.endpoint_state import KIND as KIND
from local.sagemaker.errors import ValidationException
from local.sagemaker.places import Program
from local.sagemaker.plan import read_plan
from local.sagemaker.registry import Json, operation, service
from local.sagemaker.resources import create, describe, listing
from local.sagemaker.rollout import Interrupted, Rollout, mend
from local.sagemaker.store import Resource
from local.sagemaker.traffic import Fleet, Traffic

_SETTLED = ("InService", "Failed")
_WATCH_SECONDS = 0.5
_REVIVE_SECONDS = 5.0

log = logging.getLogger(__name__)


@operation("CreateEndpoint")
def create_endpoint(context: Context, request: Json) -> Json:
    config = endpoint_configs.KIND.find(context, request["EndpointConfigName"]).document
    deployment = request.get("DeploymentConfig", {})
    _check_deployment(deployment, config)
    moment = now()
    document = {"EndpointStatus": "Creating", "CreationTime": moment, "LastModifiedTime": moment}
    own = {key: value for key, value in request.items() if key != "DeploymentConfig"}
    answer = create(context, KIND, own, document)
    context.service(Endpoints).deploy(request["EndpointName"], config, deployment)
    return answer


@operation("DescribeEndpoint")
def describe_endpoint(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["EndpointName"])


@operation("ListEndpoints")
def list_endpoints(context: Context, request: Json) -> Json:
    return listing(context, KIND, "ListEndpoints", request)


@operation("UpdateEndpoint")
def update_endpoint(context: Context, request: Json) -> Json:
    name = request["EndpointName"]
    config = endpoint_configs.KIND.find(context, request["EndpointConfigName"]).document
    known = KIND.find(context, name).document
    last: Json = known.get("LastDeploymentConfig", {}) if request.get("RetainDeploymentConfig") else {}
    deployment = request.get("DeploymentConfig") or last
    _check_deployment(deployment, config)
    if "BlueGreenUpdatePolicy" in deployment:
        _check_names(known, config)
    if request.get("RetainAllVariantProperties"):
        config = endpoint_state.reweighed(config, endpoint_state.weights(known))
    found = _begin(context, name)
    context.service(Endpoints).deploy(name, config, deployment)
    return {"EndpointArn": found.document["EndpointArn"]}


@operation("UpdateEndpointWeightsAndCapacities")
def update_weights(context: Context, request: Json) -> Json:
    name = request["EndpointName"]
    document = KIND.find(context, name).document
    kinds = ("ProductionVariants", "ShadowProductionVariants")
    known = {variant["VariantName"] for kind in kinds for variant in document.get(kind, [])}
    wanted = {change["VariantName"]: change for change in request["DesiredWeightsAndCapacities"]}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValidationException(f"The endpoint {name} has no variant {', '.join(unknown)}.")
    found = _begin(context, name)
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
    """The traffic of all endpoints, and the threads that change them: one change of an endpoint at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._traffic: dict[str, Traffic] = {}
        self._changes: dict[str, threading.Lock] = {}
        self._threads: set[threading.Thread] = set()
        self._reviving: set[str] = set()
        self._closing = threading.Event()

    def start(self) -> None:
        running = self._context.place.running()
        for resource in self._context.store.all(KIND.arn):
            self._take_up(resource, running)
        self._run("endpoints", self._watch)

    def stop(self) -> None:
        self._closing.set()
        for thread in list(self._threads):
            thread.join(10)
        left = [variant for one in self._traffic.values() for variant in one.variants]
        if self._context.place.tends:
            for variant in left:
                variant.logs.ship()
        else:
            fleet.stop(left)

    def traffic(self, endpoint: str) -> Traffic | None:
        """The programs behind an endpoint that is in service, or will be."""
        return self._traffic.get(endpoint)

    def deploy(self, endpoint: str, config: Json, deployment: Json) -> None:
        """Shifts the endpoint to a configuration as a DeploymentConfig says, in a thread."""
        self._change(endpoint, lambda resource: endpoint_state.want(resource, config, deployment))
        self._traffic.setdefault(endpoint, Traffic(endpoint))
        self._run(endpoint, lambda: self._rollout(endpoint).run())

    def weigh(self, endpoint: str, changes: dict[str, Json]) -> None:
        """Sets weights and counts, by the variants' names, in a thread."""
        self._change(endpoint, lambda resource: resource.notes.update(changes=changes))
        self._run(endpoint, lambda: self._weigh(endpoint, changes))

    def delete(self, endpoint: str) -> None:
        """Stops the endpoint's programs and forgets it, in a thread."""
        self._run(endpoint, lambda: self._delete(endpoint))

    def _rollout(self, endpoint: str) -> Rollout:
        check = functools.partial(self._check, endpoint)
        return Rollout(self._context, self._traffic[endpoint], check, self._closing.wait)

    def _weigh(self, endpoint: str, changes: dict[str, Json]) -> None:
        self._closing.wait(self._context.settings.step_seconds)
        traffic = self._traffic[endpoint]
        for one in traffic.fleets[:1]:
            one.config = endpoint_state.reweighed(one.config, changes)
            kinds = ("ProductionVariants", "ShadowProductionVariants")
            variants = [variant for kind in kinds for variant in one.config.get(kind, [])]
            traffic.weigh(one, {variant["VariantName"]: variant["InitialVariantWeight"] for variant in variants})
            self._change(endpoint, functools.partial(_weighed, one=one))

    def _delete(self, endpoint: str) -> None:
        self._closing.wait(self._context.settings.step_seconds)
        gone = self._traffic.pop(endpoint, None)
        fleet.drain(gone.variants if gone else [])
        shutil.rmtree(self._context.settings.state / "endpoint" / endpoint, ignore_errors=True)
        KIND.delete(self._context, endpoint)

    def _take_up(self, resource: Resource, running: Mapping[Path, Program]) -> None:
        """Goes on with an endpoint of an earlier server."""
        endpoint, status = resource.name, resource.document["EndpointStatus"]
        traffic = self._traffic[endpoint] = Traffic(endpoint)
        self._adopt(traffic, resource.notes.get("fleets", []), running)
        if status == "Deleting":
            self.delete(endpoint)
            return
        if not traffic.fleets and resource.notes.get("fleets"):
            self._run(endpoint, lambda: self._start_again(traffic, resource.notes["fleets"][0]["config"]))
        if status == "RollingBack":
            reason = resource.document["FailureReason"]
            self._run(endpoint, lambda: self._rollout(endpoint).go_back(reason))
        elif status == "Updating" and "changes" in resource.notes:
            self._run(endpoint, lambda: self._weigh(endpoint, resource.notes["changes"]))
        elif status not in _SETTLED:
            self._run(endpoint, lambda: self._rollout(endpoint).run())

    def _adopt(self, traffic: Traffic, notes: list[Json], running: Mapping[Path, Program]) -> None:
        """Takes over the fleets that still run; a new one only beside its old one."""
        fleets = [fleet.adopt(self._context, traffic.endpoint, note, running) for note in notes]
        kept = [one for one in fleets if one is not None] if fleets and fleets[0] is not None else []
        fleet.stop_strays(self._context, traffic.endpoint, [v for one in kept for v in one.variants], running)
        if kept:
            traffic.route([(one, one.share if len(kept) > 1 else 1.0) for one in kept])

    def _start_again(self, traffic: Traffic, config: Json) -> None:
        """Starts what served before this server; its status doesn't change. Tried until it serves, or is to change."""
        while not self._closing.is_set():
            try:
                self._check(traffic.endpoint)
                one = fleet.launch(self._context, traffic.endpoint, config, lambda: self._check(traffic.endpoint))
            except Interrupted:
                return
            except Exception as error:
                log.warning("an endpoint can't be started", extra={"endpoint": traffic.endpoint, "reason": str(error)})
                if KIND.find(self._context, traffic.endpoint).document["EndpointStatus"] != "InService":
                    return
                self._closing.wait(_REVIVE_SECONDS)
            else:
                traffic.route([(one, 1.0)])
                self._change(traffic.endpoint, lambda resource: endpoint_state.note_fleets(resource, traffic.fleets))
                return

    def _watch(self) -> None:
        """Sends logs away, and starts programs again that have ended by themselves."""
        while not self._closing.wait(_WATCH_SECONDS):
            for endpoint, traffic in list(self._traffic.items()):
                for variant in traffic.variants:
                    variant.logs.ship()
                if endpoint not in self._reviving and any(variant.has_ended for variant in traffic.variants):
                    self._reviving.add(endpoint)
                    self._run(endpoint, functools.partial(self._revive, traffic))

    def _revive(self, traffic: Traffic) -> None:
        """Starts the programs of the variants that have ended; when they fail, it is tried again a little later."""
        try:
            self._check(traffic.endpoint)
            for one in traffic.fleets[:1]:
                mend(self._context, traffic, one, lambda: self._check(traffic.endpoint))
        except Interrupted:
            return
        except Exception as error:
            extra = {"endpoint": traffic.endpoint, "reason": str(error)}
            log.warning("programs can't be started again", extra=extra)
            self._closing.wait(_REVIVE_SECONDS)
        finally:
            self._reviving.discard(traffic.endpoint)

    def _check(self, endpoint: str) -> None:
        resource = self._context.store.get(KIND.arn, endpoint)
        if self._closing.is_set() or resource is None or resource.document["EndpointStatus"] == "Deleting":
            raise Interrupted

    def _change(self, endpoint: str, function: Callable[[Resource], None]) -> None:
        self._context.store.change(KIND.arn, endpoint, function)

    def _run(self, endpoint: str, work: Callable[[], None]) -> None:
        lock = self._changes.setdefault(endpoint, threading.Lock())

        def locked() -> None:
            with lock:
                work()
            self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=locked, name=f"endpoint/{endpoint}", daemon=True)
        self._threads.add(thread)
        thread.start()


def _begin(context: Context, name: str) -> Resource:
    """Sets the status that says that a change is under way. Raises `ValidationException` when another is."""
    with context.store.transaction():
        found = KIND.find(context, name)
        current = found.document["EndpointStatus"]
        if current not in _SETTLED:
            raise ValidationException(f'Cannot update in-progress endpoint "{found.document["EndpointArn"]}".')
        fields = {"EndpointStatus": "Updating", "LastModifiedTime": now()}
        context.store.change(KIND.arn, name, lambda resource: resource.document.update(fields))
        return found


def _weighed(resource: Resource, one: Fleet) -> None:
    resource.notes.pop("changes", None)
    endpoint_state.serve(resource, one)


def _check_deployment(deployment: Json, config: Json) -> None:
    alarms.check_known(read_plan(deployment, endpoint_state.instances(config)).alarms)


def _check_names(endpoint: Json, config: Json) -> None:
    """Traffic shifts between variants of the same names, as AWS has it."""
    names = {
        kind: sorted(variant["VariantName"] for variant in document.get("ProductionVariants", []))
        for kind, document in (("old", endpoint), ("new", config))
    }
    if names["old"] and names["old"] != names["new"]:
        raise ValidationException(
            f"DeploymentConfig: the new endpoint configuration must have the same variant names as the old one: "
            f"{', '.join(names['old'])}."
        )
