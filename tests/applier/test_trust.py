"""The roles trust the service accounts that the charts make, and no others."""

from __future__ import annotations

import json

import pytest

from applier.__main__ import DEFAULT_PATH
from applier.manifest import Cluster, placeholders, read_manifests
from applier.resources import Place, resources_of
from loopcast.feed import load_feed
from tests.applier.conftest import DEFAULT_FEED, REGION
from tests.applier.test_declared import as_list
from tests.charts.rendering import Helm, need_helm

ACCOUNT = "123456789012"
CLUSTER = Cluster(oidc_provider="oidc.eks.us-east-1.amazonaws.com/id/1", namespace="streams", release="fees")
WITHOUT_AWS = {"fees-aws-resources-check"}
"""Of pods that ask Kubernetes alone."""
VALUES = {"global": {"aws": {"irsa": True, "account": ACCOUNT}}}


def trusted() -> dict[str, list[str]]:
    """The service accounts that each role trusts, by the role's ARN."""
    values = placeholders(load_feed(DEFAULT_FEED), ACCOUNT, REGION, CLUSTER)
    found = {}
    for folder in (DEFAULT_PATH, DEFAULT_PATH / "bootstrap"):
        for resource in resources_of(read_manifests(folder, values), Place(ACCOUNT, REGION)):
            if resource.kind.name == "Role":
                statements = json.loads(resource.spec["AssumeRolePolicyDocument"])["Statement"]
                claims = [item["Condition"]["StringEquals"] for item in statements if "Federated" in item["Principal"]]
                arn = f"arn:aws:iam::{ACCOUNT}:role/{resource.name}"
                found[arn] = [name for claim in claims for name in as_list(claim[f"{CLUSTER.oidc_provider}:sub"])]
    return found


@pytest.mark.charts
def test_each_service_account_of_the_charts_has_a_role_that_trusts_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    need_helm()
    objects = Helm(tmp_path_factory.mktemp("helm")).render("loopcast", VALUES, "fees", "streams")
    accounts = {
        item["metadata"]["name"]: item["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn", "")
        for item in objects
        if item["kind"] == "ServiceAccount"
    }
    with_role = {name: role for name, role in accounts.items() if role and name not in WITHOUT_AWS}

    assert len(with_role) >= 9
    for name, role in with_role.items():
        assert f"system:serviceaccount:streams:{name}" in trusted().get(role, []), f"{name} can't take {role}"
