"""Whether the operator answers: creates a suspended policy, waits for its status and its columns, and deletes it."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import kubernetes
import yaml

NAMESPACE, NAME, SECONDS = os.environ["NAMESPACE"], os.environ["NAME"], float(os.environ["SECONDS"])
KIND = ("loopcast.io", "v1alpha1", NAMESPACE, "retrainingpolicies")
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}

kubernetes.config.load_incluster_config()
client = kubernetes.client.ApiClient()
policies = kubernetes.client.CustomObjectsApi(client)


def columns() -> dict[str, Any]:
    """What `kubectl get` shows of the policy, by column."""
    path = f"/apis/loopcast.io/v1alpha1/namespaces/{NAMESPACE}/retrainingpolicies/{NAME}"
    asked = {"header_params": TABLE, "response_type": "object", "auth_settings": ["BearerToken"]}
    table = client.call_api(path, "GET", **asked)[0]
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def watched() -> str:
    """What is shown once the operator has said that the policy is suspended. Exits when it doesn't."""
    deadline, shown = time.monotonic() + SECONDS, {}
    while time.monotonic() < deadline:
        shown = {name: value for name, value in columns().items() if value}
        if shown.get("Reason") == "Suspended" and shown.get("State"):
            return ", ".join(f"{name}: {value}" for name, value in shown.items())
        time.sleep(1)
    sys.exit(f"after {SECONDS:g} s the operator has not said that the policy is suspended; it shows {shown}")


feed = yaml.safe_load(Path("/etc/loopcast/feed.yaml").read_text(encoding="utf-8"))["name"]
policy = {
    "apiVersion": "loopcast.io/v1alpha1",
    "kind": "RetrainingPolicy",
    "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "helm-test"}},
    "spec": {"feed": feed, "manualOnly": True, "suspend": True},
}
try:
    policies.create_namespaced_custom_object(*KIND, policy)
except kubernetes.client.ApiException as error:
    sys.exit(f"the API server did not take a policy: {error.reason}: {error.body}")
try:
    print("the operator answers:", watched())
finally:
    policies.delete_namespaced_custom_object(*KIND, NAME)
