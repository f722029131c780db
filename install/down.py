"""`python -m install down`: takes everything away again, in an order in which nothing hangs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pyhelm3 import Client

from install import helm
from install.cluster import MADE_BY, Cluster
from install.up import Say

POLICIES_SECONDS = 60.0
LEFTOVERS_SECONDS = 120.0
NAMESPACE_SECONDS = 180.0


async def down(
    cluster: Cluster,
    client: Client,
    release: str,
    namespace: str,
    timeout: str,
    *,
    keep_definitions: bool,
    say: Say,
) -> bool:
    """Removes the release and what it left, and says what; False where something would not go.

    Policies go first, while the operator still runs that frees them. Definitions stay where another namespace has
    policies, and a namespace that was there before stays.
    """
    labels = cluster.namespace(namespace)
    removed: list[str] = []
    stuck: list[str] = []
    if labels is not None:
        stuck += _policies(cluster, namespace, removed, say)
        if await helm.uninstall(client, release, namespace, timeout):
            removed.append(f"release {release}")
            say(f"release {release} uninstalled")
        stuck += await asyncio.to_thread(_leftovers, cluster, release, namespace, removed, say)
    if not keep_definitions:
        stuck += _definitions(cluster, removed, say)
    if labels is not None and MADE_BY.items() <= labels.items():
        if await asyncio.to_thread(cluster.delete_namespace, namespace, NAMESPACE_SECONDS):
            removed.append(f"namespace {namespace}")
            say(f"namespace {namespace} deleted")
        else:
            stuck.append(f"namespace {namespace}")
    if stuck:
        say(f"still there: {', '.join(stuck)}")
        return False
    say("nothing is left" if removed else f"nothing was there of {release} in {namespace}")
    return True


def _policies(cluster: Cluster, namespace: str, removed: list[str], say: Say) -> list[str]:
    """Deletes the policies; those that no operator frees any more are freed here."""
    found = cluster.policies(namespace)
    if not found:
        return []
    left = cluster.delete_and_wait(found, POLICIES_SECONDS)
    for one in left:
        cluster.free(one)
    left = cluster.delete_and_wait(left, POLICIES_SECONDS)
    removed += [described(one) for one in found if one not in left]
    say(f"deleted {summary(found)}")
    return [described(one) for one in left]


def _leftovers(cluster: Cluster, release: str, namespace: str, removed: list[str], say: Say) -> list[str]:
    found = cluster.leftovers(release, namespace)
    if not found:
        return []
    left = cluster.delete_and_wait(found, LEFTOVERS_SECONDS)
    removed += [described(one) for one in found if one not in left]
    say(f"deleted {summary(found)} that its programs had made")
    return [described(one) for one in left]


def _definitions(cluster: Cluster, removed: list[str], say: Say) -> list[str]:
    found = cluster.definitions()
    if not found:
        return []
    if used := cluster.policies():
        say(f"the definitions stay: {summary(used)} of other namespaces need them")
        return []
    left = cluster.delete_and_wait(found, LEFTOVERS_SECONDS)
    removed += [described(one) for one in found if one not in left]
    say(f"deleted {summary(found)}")
    return [described(one) for one in left]


def described(one: dict[str, Any]) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def summary(objects: Iterable[dict[str, Any]]) -> str:
    """How many there are of each kind: `2 Job, 1 Pod`."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(one["kind"] for one in objects).items()))
