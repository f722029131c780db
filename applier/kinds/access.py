"""IAM roles with their policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.model import DenormalizedStructureBuilder, Shape

from applier.kinds.core import Kind, Part, Spec, Update, call, call_if_there, pages, request_of


class _InlinePolicies(Part):
    """A role's own policies by name: each is written and removed by a call of its own."""

    def shape(self, service: str) -> Shape:
        # IAM's model has no map of documents by name, which ACK's field is.
        texts = {"type": "map", "key": {"type": "string"}, "value": {"type": "string"}}
        return DenormalizedStructureBuilder().with_members({self.field: texts}).build_model().members[self.field]

    def get(self, service: str, spec: Spec) -> Any:
        names = pages(service, "ListRolePolicies", "PolicyNames[]", **self.parameters(spec))
        return {name: self._document(service, spec, name) for name in names}

    def put(self, service: str, spec: Spec) -> None:
        for name in self.get(service, spec):
            if name not in spec[self.field]:
                call_if_there(service, "DeleteRolePolicy", **self.parameters(spec), PolicyName=name)
        for name, document in spec[self.field].items():
            call(service, self.write, **self.parameters(spec), PolicyName=name, PolicyDocument=document)

    def _document(self, service: str, spec: Spec, name: str) -> Any:
        answer = call_if_there(service, self.read, **self.parameters(spec), PolicyName=name)
        return answer and answer["PolicyDocument"]


@dataclass(frozen=True, kw_only=True)
class _Role(Kind):
    def remove(self, spec: Spec) -> None:
        """AWS deletes no role that has a policy."""
        if self.find({"RoleName": spec["RoleName"]}) is None:
            return
        self.parts[0].put(self.service, {**spec, "InlinePolicies": {}})
        attached = pages(self.service, "ListAttachedRolePolicies", "AttachedPolicies[]", RoleName=spec["RoleName"])
        for policy in attached:
            call(self.service, "DetachRolePolicy", RoleName=spec["RoleName"], PolicyArn=policy["PolicyArn"])
        super().remove(spec)


ROLE = _Role(
    service="iam",
    name="Role",
    create="CreateRole",
    read="GetRole",
    delete="DeleteRole",
    key="RoleName",
    keys={"RoleName": "RoleName"},
    within="Role",
    renames={"name": "RoleName"},
    fields=("RoleName", "Path", "AssumeRolePolicyDocument", "Description", "MaxSessionDuration"),
    parts=(
        _InlinePolicies(
            "InlinePolicies", "PutRolePolicy", "PolicyDocument", "GetRolePolicy", "@", {"RoleName": "RoleName"}
        ),
    ),
    updates=(
        Update(
            "UpdateAssumeRolePolicy",
            frozenset({"AssumeRolePolicyDocument"}),
            request_of("RoleName", PolicyDocument="AssumeRolePolicyDocument"),
        ),
        Update(
            "UpdateRole",
            frozenset({"Description", "MaxSessionDuration"}),
            request_of("RoleName", "Description", "MaxSessionDuration"),
        ),
    ),
    arn="arn:aws:iam::{account}:role/{name}",
)
