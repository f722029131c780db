"""Whether the operator answers: creates a suspended policy, waits for its status and its columns, and deletes it."""

import os
import sys
import time

import kubernetes
import yaml

NAMESPACE, NAME, SECONDS = os.environ["NAMESPACE"], os.environ["NAME"], float(os.environ["SECONDS"])
KIND = ("loopcast.io", "v1alpha1", NAMESPACE, "retrainingpolicies")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def columns(client):
    """What `kubectl get` shows of the policy, by column."""
    path = f"/apis/loopcast.io/v1alpha1/namespaces/{NAMESPACE}/retrainingpolicies/{NAME}"
    table = client.call_api(path, "GET", header_params={"Accept": TABLE}, response_type="object", auth_settings=["BearerToken"])[0]
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"]))


def watched(client):
    """The columns once the operator has said that the policy is suspended; else why that is not so."""
    deadline, shown = time.monotonic() + SECONDS, {}
    while time.monotonic() < deadline:
        shown = columns(client)
        if shown.get("Reason") == "Suspended" and shown.get("State"):
            return shown, ""
        time.sleep(1)
    return shown, f"after {SECONDS:g} s the operator has not said that the policy is suspended; it shows {shown}"


kubernetes.config.load_incluster_config()
client = kubernetes.client.ApiClient()
policies = kubernetes.client.CustomObjectsApi(client)
feed = yaml.safe_load(open("/etc/loopcast/feed.yaml", encoding="utf-8"))["name"]
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
    shown, fault = watched(client)
finally:
    policies.delete_namespaced_custom_object(*KIND, NAME)
if fault:
    sys.exit(fault)
print("the operator answers:", ", ".join(f"{name}: {value}" for name, value in shown.items() if value))
