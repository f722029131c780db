"""Application Auto Scaling, which ministack lacks: scalable targets and their policies are kept and told, in a file.

It scales nothing: no alarm is made of a policy, no capacity is changed, and whether what a target names is there isn't
asked. Requests are checked against botocore's model.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore.session
from ministack import app
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import SERVICE_PATTERNS

from local.sagemaker.errors import ServiceError, UnknownOperation, ValidationException
from local.sagemaker.validation import validate

Json = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]

_SERVICE = "application-autoscaling"
_TARGET_PREFIX = "AnyScaleFrontendService"
_KEYS = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_BOUNDS = ("MinCapacity", "MaxCapacity")
_ROLE = "arn:aws:iam::{account}:role/aws-service-role/{service}.application-autoscaling.amazonaws.com/{name}"


class ObjectNotFound(ServiceError):
    code = "ObjectNotFoundException"
    status = 400


class Scaling:
    """What was registered, in `file`: the targets and the policies of an account and region, as they are described."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: dict[str, list[Json]] = json.loads(file.read_text()) if file.exists() else {}
        self._model = botocore.session.get_session().get_service_model(_SERVICE)
        self._operations: Mapping[str, Callable[[Json], Json]] = {
            "RegisterScalableTarget": self._register,
            "DeregisterScalableTarget": self._deregister,
            "DescribeScalableTargets": lambda asked: {"ScalableTargets": list(self._targets(asked))},
            "PutScalingPolicy": self._put_policy,
            "DeleteScalingPolicy": self._delete_policy,
            "DescribeScalingPolicies": lambda asked: {"ScalingPolicies": list(self._policies(asked))},
        }

    def install(self) -> None:
        """Puts the service beside ministack's."""
        SERVICE_PATTERNS[_SERVICE] = {"target_prefixes": [f"{_TARGET_PREFIX}."]}
        app.SERVICE_HANDLERS[_SERVICE] = self.handle_request

    async def handle_request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> Answer:
        """The answer to a request, as ministack's services give it."""
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            return _answer(200, self._perform(operation, json.loads(body or b"{}")))
        except ServiceError as error:
            return _answer(error.status, {"__type": error.code, "Message": str(error), "message": str(error)})

    def _perform(self, operation: str, asked: Json) -> Json:
        if operation not in self._operations:
            raise UnknownOperation(f"local.aws lacks Application Auto Scaling's {operation}.")
        validate(self._model.operation_model(operation).input_shape, asked)
        return self._operations[operation](asked)

    def _register(self, asked: Json) -> Json:
        known = next(self._targets({**asked, "ResourceIds": [asked["ResourceId"]]}), None)
        given = {name: value for name, value in asked.items() if name != "Tags"}
        target = {**(known or _new_target(asked)), **given}
        if not all(name in target for name in _BOUNDS):
            raise ValidationException("A new scalable target needs both MinCapacity and MaxCapacity.")
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise ValidationException("MaxCapacity must not be less than MinCapacity.")
        self._keep("targets", known, target)
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _deregister(self, asked: Json) -> Json:
        target = self._target(asked)
        for policy in list(self._policies(asked)):
            self._keep("policies", policy, None)
        self._keep("targets", target, None)
        return {}

    def _put_policy(self, asked: Json) -> Json:
        self._target(asked)
        known = next(self._policies({**asked, "PolicyNames": [asked["PolicyName"]]}), None)
        policy = {**(known or _new_policy(asked)), **asked}
        self._keep("policies", known, policy)
        return {"PolicyARN": policy["PolicyARN"], "Alarms": []}

    def _delete_policy(self, asked: Json) -> Json:
        known = next(self._policies({**asked, "PolicyNames": [asked["PolicyName"]]}), None)
        if known is None:
            raise ObjectNotFound(f"No scaling policy found for {_named(asked)}, policy name: {asked['PolicyName']}")
        self._keep("policies", known, None)
        return {}

    def _target(self, asked: Json) -> Json:
        found = next(self._targets({**asked, "ResourceIds": [asked["ResourceId"]]}), None)
        if found is None:
            raise ObjectNotFound(f"No scalable target found for {_named(asked)}")
        return found

    def _targets(self, asked: Json) -> Iterator[Json]:
        wanted = {name: asked[name] for name in ("ServiceNamespace", "ScalableDimension") if name in asked}
        for target in self._kept.get(_place("targets"), []):
            is_asked = target["ResourceId"] in asked.get("ResourceIds", [target["ResourceId"]])
            if is_asked and wanted.items() <= target.items():
                yield target

    def _policies(self, asked: Json) -> Iterator[Json]:
        wanted = {name: asked[name] for name in _KEYS if name in asked}
        for policy in self._kept.get(_place("policies"), []):
            is_asked = policy["PolicyName"] in asked.get("PolicyNames", [policy["PolicyName"]])
            if is_asked and wanted.items() <= policy.items():
                yield policy

    def _keep(self, what: str, old: Json | None, new: Json | None) -> None:
        """Puts `new` in the place of `old` (None: there is none), in the file first."""
        place = _place(what)
        items = [item for item in self._kept.get(place, []) if item is not old] + ([new] if new else [])
        kept = {**self._kept, place: items}
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(kept))
        partial.replace(self._file)
        self._kept = kept


def _place(what: str) -> str:
    return f"{what} {get_account_id()} {get_region()}"


def _named(asked: Json) -> str:
    return ", ".join(f"{name}: {asked[name]}" for name in _KEYS)


def _new_target(asked: Json) -> Json:
    account, region = get_account_id(), get_region()
    service = asked["ServiceNamespace"]
    return {
        "ScalableTargetARN": f"arn:aws:application-autoscaling:{region}:{account}:scalable-target/{uuid.uuid4().hex}",
        "RoleARN": _ROLE.format(account=account, service=service, name="AWSServiceRoleForApplicationAutoScaling"),
        "CreationTime": time.time(),
        "SuspendedState": {
            f"{name}Suspended": False for name in ("DynamicScalingIn", "DynamicScalingOut", "ScheduledScaling")
        },
    }


def _new_policy(asked: Json) -> Json:
    account, region = get_account_id(), get_region()
    resource = f"resource/{asked['ServiceNamespace']}/{asked['ResourceId']}:policyName/{asked['PolicyName']}"
    return {
        "PolicyARN": f"arn:aws:autoscaling:{region}:{account}:scalingPolicy:{uuid.uuid4()}:{resource}",
        "PolicyType": "StepScaling",
        "CreationTime": time.time(),
        "Alarms": [],
    }


def _answer(status: int, fields: Json) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(fields).encode()
