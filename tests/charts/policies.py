"""What every object of every chart keeps to, beyond the Kubernetes API. Each policy yields a sentence a violation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tests.charts import pod_security
from tests.charts.rendering import Object, containers, hook, pods

Policy = Callable[[Sequence[Object]], Iterator[str]]

LABELS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
}
EXTERNAL = {
    ("Secret", "registry-key"),  # global.image.pullSecrets of ci/eks-values.yaml
    ("Secret", "aws-credentials"),  # global.aws.credentialsSecret
}
"""What a release may refer to without making it: existing objects that values name (docs/charts.md)."""
_LASTING = ("Deployment", "StatefulSet", "DaemonSet")


def restricted_pod_security(objects: Sequence[Object]) -> Iterator[str]:
    for item, pod in pods(objects):
        yield from (f"{_name(item)}: {why}" for why in pod_security.violations(pod))


def resources_are_set(objects: Sequence[Object]) -> Iterator[str]:
    """CPU and memory are asked for, and memory is bounded. CPU has no limit: a limit only slows down."""
    for item, container in _containers(objects):
        resources = container.get("resources") or {}
        for kind, names in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
            for name in names:
                if name not in (resources.get(kind) or {}):
                    yield f"{_name(item)}: {container['name']} has no {kind}.{name}"


def lasting_pods_are_probed(objects: Sequence[Object]) -> Iterator[str]:
    for item, pod in pods(objects):
        for container in pod["spec"]["containers"] if item["kind"] in _LASTING else []:
            for probe in ("livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"{_name(item)}: {container['name']} has no {probe}"


def images_are_pinned(objects: Sequence[Object]) -> Iterator[str]:
    for item, container in _containers(objects):
        image = container["image"]
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and tag in ("", "latest"):
            yield f"{_name(item)}: the image {image} is not pinned"


def root_file_systems_are_read_only(objects: Sequence[Object]) -> Iterator[str]:
    for item, container in _containers(objects):
        if not (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
            yield f"{_name(item)}: {container['name']} may write to its root file system"


def tokens_are_for_those_with_rights(objects: Sequence[Object]) -> Iterator[str]:
    """A pod has a token exactly if its service account has a role."""
    bound = {
        subject["name"]
        for item in objects
        if item["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in item.get("subjects") or []
    }
    for item, pod in pods(objects):
        account = pod["spec"].get("serviceAccountName", "default")
        token = pod["spec"].get("automountServiceAccountToken", True)
        if token and account not in bound:
            yield f"{_name(item)}: a token is mounted, and {account} has no role"
    for item in objects:
        if item["kind"] == "ServiceAccount" and item.get("automountServiceAccountToken") is not False:
            yield f"{_name(item)}: its token is mounted unless a pod says otherwise"


def service_links_are_off(objects: Sequence[Object]) -> Iterator[str]:
    for item, pod in pods(objects):
        if pod["spec"].get("enableServiceLinks") is not False:
            yield f"{_name(item)}: enableServiceLinks is not false"


def labels_are_complete(objects: Sequence[Object]) -> Iterator[str]:
    for item in objects:
        missing = (LABELS | {"helm.sh/chart"}) - set(item["metadata"].get("labels") or {})
        if missing and item["kind"] != "CustomResourceDefinition":
            yield f"{_name(item)}: no {', '.join(sorted(missing))}"
    for item, pod in pods(objects):
        if item is not pod and (missing := LABELS - set(pod["metadata"].get("labels") or {})):
            yield f"{_name(item)}: its pods have no {', '.join(sorted(missing))}"


def selectors_find_their_own_pods(objects: Sequence[Object]) -> Iterator[str]:
    for item, pod in pods(objects):
        if item["kind"] in _LASTING and not _selects(item["spec"]["selector"], pod):
            yield f"{_name(item)}: its selector doesn't match its pods"


def several_replicas_have_a_disruption_budget(objects: Sequence[Object]) -> Iterator[str]:
    budgets = [item for item in objects if item["kind"] == "PodDisruptionBudget"]
    for item, pod in pods(objects):
        if item["kind"] in ("Deployment", "StatefulSet") and _least_replicas(item, objects) > 1:
            found = [budget for budget in budgets if _selects(budget["spec"]["selector"], pod)]
            if len(found) != 1:
                yield f"{_name(item)}: it has {len(found)} PodDisruptionBudgets, not one"


def one_replica_has_no_disruption_budget(objects: Sequence[Object]) -> Iterator[str]:
    """It would hold up every drain of its node, for nothing."""
    budgets = [item for item in objects if item["kind"] == "PodDisruptionBudget"]
    for item, pod in pods(objects):
        if item["kind"] in ("Deployment", "StatefulSet") and _least_replicas(item, objects) <= 1:
            yield from (
                f"{_name(budget)}: it guards one replica"
                for budget in budgets
                if _selects(budget["spec"]["selector"], pod)
            )


def every_pod_has_a_network_policy(objects: Sequence[Object]) -> Iterator[str]:
    rules = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
    for item, pod in pods(objects):
        ways = {way for rule in rules if _selects(rule["podSelector"], pod) for way in rule["policyTypes"]}
        if ways != {"Ingress", "Egress"}:
            yield f"{_name(item)}: network policies restrict only {', '.join(sorted(ways)) or 'nothing'}"


def names_referred_to_exist(objects: Sequence[Object]) -> Iterator[str]:
    known = {(item["kind"], item["metadata"]["name"]) for item in objects} | EXTERNAL | {("ServiceAccount", "default")}
    for item, pod in pods(objects):
        for kind, name in sorted(set(_references(pod))):
            if (kind, name) not in known:
                yield f"{_name(item)}: there is no {kind} {name}"


def names_are_of_the_release(objects: Sequence[Object]) -> Iterator[str]:
    """So that two releases can live in one namespace."""
    for item in objects:
        release = (item["metadata"].get("labels") or {}).get("app.kubernetes.io/instance", "")
        own = item["metadata"]["name"].startswith(f"{release}-") or _is_named_by_a_feed(item)
        if item["kind"] != "CustomResourceDefinition" and not own:
            yield f"{_name(item)}: its name doesn't begin with the release's"


def hooks_leave_nothing(objects: Sequence[Object]) -> Iterator[str]:
    """helm doesn't remove what hooks have made, when a release is uninstalled; a Job that failed may stay a while."""
    for item in objects:
        policy = (item["metadata"].get("annotations") or {}).get("helm.sh/hook-delete-policy", "").split(",")
        ends = "hook-failed" in policy or "ttlSecondsAfterFinished" in item.get("spec", {})
        if hook(item) and not ("hook-succeeded" in policy and ends):
            yield f"{_name(item)}: it stays when its hook is over"


def _is_named_by_a_feed(item: Object) -> bool:
    """Policies and AWS resources are named after what they are for, not after the release."""
    return item["apiVersion"].split("/")[0].endswith(("loopcast.io", "services.k8s.aws"))


def _references(pod: Object) -> Iterator[tuple[str, str]]:
    """The kind and name of what the pod can't start without."""
    spec = pod["spec"]
    yield "ServiceAccount", spec.get("serviceAccountName", "default")
    yield from (("Secret", secret["name"]) for secret in spec.get("imagePullSecrets") or [])
    for volume in spec.get("volumes") or []:
        yield from _volume_references(volume)
    for container in containers(pod):
        yield from _env_references(container)


def _volume_references(volume: Object) -> Iterator[tuple[str, str]]:
    if "configMap" in volume and not volume["configMap"].get("optional"):
        yield "ConfigMap", volume["configMap"]["name"]
    if "secret" in volume and not volume["secret"].get("optional"):
        yield "Secret", volume["secret"]["secretName"]
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


def _env_references(container: Object) -> Iterator[tuple[str, str]]:
    sources = [item.get("valueFrom") or {} for item in container.get("env") or []]
    for source in (*sources, *(container.get("envFrom") or [])):
        for key, kind in (
            ("configMapKeyRef", "ConfigMap"),
            ("configMapRef", "ConfigMap"),
            ("secretKeyRef", "Secret"),
            ("secretRef", "Secret"),
        ):
            if key in source and not source[key].get("optional"):
                yield kind, source[key]["name"]


def _least_replicas(item: Object, objects: Iterable[Object]) -> int:
    """How many replicas there are at least."""
    for scaler in objects:
        target = scaler.get("spec", {}).get("scaleTargetRef", {}) if "spec" in scaler else {}
        if target.get("name") == item["metadata"]["name"]:
            return int(scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount", 1)))
    return int(item["spec"].get("replicas", 1))


def _selects(selector: dict[str, Any], pod: Object) -> bool:
    """Whether the label selector, by matchLabels alone, selects the pod."""
    labels = pod["metadata"].get("labels") or {}
    assert not selector.get("matchExpressions"), "these charts select by labels alone"
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def _containers(objects: Iterable[Object]) -> Iterator[tuple[Object, Object]]:
    return ((item, container) for item, pod in pods(objects) for container in containers(pod))


def _name(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


POLICIES: tuple[Policy, ...] = (
    restricted_pod_security,
    resources_are_set,
    lasting_pods_are_probed,
    images_are_pinned,
    root_file_systems_are_read_only,
    tokens_are_for_those_with_rights,
    service_links_are_off,
    labels_are_complete,
    selectors_find_their_own_pods,
    several_replicas_have_a_disruption_budget,
    one_replica_has_no_disruption_budget,
    every_pod_has_a_network_policy,
    names_referred_to_exist,
    names_are_of_the_release,
    hooks_leave_nothing,
)
