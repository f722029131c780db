"""What Flink's high availability keeps in ConfigMaps, made ready for a start.

Flink writes two: who leads, with the job's graph, and where the job's checkpoints are. It leaves them when its pods go,
which is what they are for, and so also when all else of a release is uninstalled. Therefore they belong to a ConfigMap
of the release, and Kubernetes itself removes them with that one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loopcast.aws import client, split_s3

_GRAPH = "jobGraph-"
_NOBODY = {
    "holderIdentity": "",
    "leaseDuration": 1.0,
    "acquireTime": "1970-01-01T00:00:00.000000Z",
    "renewTime": "1970-01-01T00:00:00.000000Z",
    "leaderTransitions": 0,
}
"""A lead that ended long ago. Flink takes over a ConfigMap that states one; it would try for ever to create another."""


class Maps(Protocol):
    def get(self, name: str) -> Any | None: ...

    def create(self, config_map: Mapping[str, Any]) -> None: ...

    def change(self, name: str, patch: Mapping[str, Any]) -> None: ...


def names(cluster: str, job: str) -> Sequence[str]:
    """The ConfigMaps of the cluster `cluster` with the job `job`, as Flink names them."""
    return (f"{cluster}-cluster-config-map", f"{cluster}-{job}-config-map")


def settings(cluster: str, namespace: str, storage: str) -> Mapping[str, str]:
    """Flink's settings for it; what is too large for a ConfigMap lies under `storage` (s3://bucket/prefix)."""
    return {
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": storage,
        "kubernetes.cluster-id": cluster,
        "kubernetes.namespace": namespace,
    }


def adopt(maps: Maps, cluster: str, job: str, owner: str) -> None:
    """Makes the ConfigMap `owner` the owner of Flink's, which are created where they are absent."""
    found = maps.get(owner)
    if found is None:
        raise LookupError(f"there is no ConfigMap {owner}")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": found["metadata"]["uid"]}
    for name in names(cluster, job):
        existing = maps.get(name)
        if existing is None:
            maps.create(_empty(name, cluster, reference))
        elif reference["uid"] not in [one["uid"] for one in existing["metadata"].get("ownerReferences", [])]:
            maps.change(name, {"metadata": {"ownerReferences": [reference]}})


def forget_graph(maps: Maps, cluster: str, job: str, storage: str) -> bool:
    """Forgets the plan that the last start left, and whether there was one: else that would run, not a new image's.

    The job's checkpoints stay.
    """
    name = names(cluster, job)[0]
    data = (maps.get(name) or {}).get("data") or {}
    graphs = [key for key in data if key.startswith(_GRAPH)]
    if graphs:
        maps.change(name, {"data": dict.fromkeys(graphs)})
    _delete(f"{storage}/{cluster}/submittedJobGraph")
    return bool(graphs)


def _delete(prefix: str) -> None:
    """Deletes what lies in S3 under `prefix`: the graphs that nothing names any more."""
    s3, (bucket, key) = client("s3"), split_s3(prefix)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for item in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=item["Key"])


def _empty(name: str, cluster: str, owner: Mapping[str, str]) -> Mapping[str, Any]:
    labels = {"app": cluster, "configmap-type": "high-availability", "type": "flink-native-kubernetes"}
    annotations = {"control-plane.alpha.kubernetes.io/leader": json.dumps(_NOBODY)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels, "annotations": annotations, "ownerReferences": [owner]},
    }
