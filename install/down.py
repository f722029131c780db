"""`python -m install down`: takes everything away again, in an order in which nothing hangs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyhelm3 import Client

from install import helm
from install.cluster import MADE_BY, Cluster
from install.up import Say

POLICIES_SECONDS = 60.0
LEFTOVERS_SECONDS = 120.0
NAMESPACE_SECONDS = 180.0


@dataclass
class Account:
    """What becomes of everything, told as it happens."""

    say: Say
    removed: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def settle(self, found: list[dict[str, Any]], left: list[dict[str, Any]], more: str = "") -> None:
        """`found` was to go, `left` is still there."""
        self.removed += [described(one) for one in found if one not in left]
        self.stuck += [described(one) for one in left]
        self.say(f"deleted {summary(found)}{more}")


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
    policies, and a namespace that was there before stays. What the release's values keep (operator.crds.keep,
    persistence.keep) stays, and the namespace with it.
    """
    account = Account(say)
    labels = cluster.namespace(namespace)
    keep_definitions = keep_definitions or _keeps_definitions(await helm.given(client, release, namespace))
    if labels is not None:
        _policies(cluster, namespace, keep_definitions, account)
        if await helm.uninstall(client, release, namespace, timeout):
            account.removed.append(f"release {release}")
            say(f"release {release} uninstalled")
        await asyncio.to_thread(_leftovers, cluster, release, namespace, account)
    if not keep_definitions:
        _definitions(cluster, account)
    if labels is not None:
        await asyncio.to_thread(_namespace, cluster, release, namespace, MADE_BY.items() <= labels.items(), account)
    return _summed_up(account, f"{release} in {namespace}")


def _keeps_definitions(values: Mapping[str, Any]) -> bool:
    crds = (values.get("operator") or {}).get("crds") or {}
    return bool(crds.get("keep"))


def _policies(cluster: Cluster, namespace: str, releases_only: bool, account: Account) -> None:
    """Deletes the policies, or the release's own alone; those that no operator frees any more are freed here."""
    found = [one for one in cluster.policies(namespace) if not releases_only or _is_helms(one)]
    if not found:
        return
    left = cluster.delete_and_wait(found, POLICIES_SECONDS)
    for one in left:
        cluster.free(one)
    account.settle(found, cluster.delete_and_wait(left, POLICIES_SECONDS))


def _is_helms(one: dict[str, Any]) -> bool:
    labels = one["metadata"].get("labels") or {}
    return bool(labels.get("app.kubernetes.io/managed-by") == "Helm")


def _leftovers(cluster: Cluster, release: str, namespace: str, account: Account) -> None:
    if found := cluster.leftovers(release, namespace):
        account.settle(found, cluster.delete_and_wait(found, LEFTOVERS_SECONDS), " that its programs had made")


def _definitions(cluster: Cluster, account: Account) -> None:
    found = cluster.definitions()
    if not found:
        return
    if used := cluster.policies():
        account.say(f"the definitions stay: {summary(used)} of other namespaces need them")
        return
    account.settle(found, cluster.delete_and_wait(found, LEFTOVERS_SECONDS))


def _namespace(cluster: Cluster, release: str, namespace: str, made_here: bool, account: Account) -> None:
    """Deletes the namespace where it was made here and nothing in it is to be kept."""
    kept = [*cluster.kept_claims(release, namespace), *cluster.policies(namespace)]
    account.kept += [described(one) for one in kept]
    if kept or not made_here:
        return
    if cluster.delete_namespace(namespace, NAMESPACE_SECONDS):
        account.removed.append(f"namespace {namespace}")
        account.say(f"namespace {namespace} deleted")
    else:
        account.stuck.append(f"namespace {namespace}")


def _summed_up(account: Account, what: str) -> bool:
    if account.stuck:
        account.say(f"still there: {', '.join(account.stuck)}")
        return False
    if account.kept:
        account.say(f"kept, and the namespace with it: {', '.join(account.kept)}")
    else:
        account.say("nothing is left" if account.removed else f"nothing was there of {what}")
    return True


def described(one: dict[str, Any]) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def summary(objects: Iterable[dict[str, Any]]) -> str:
    """How many there are of each kind: `2 Job, 1 Pod`."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(one["kind"] for one in objects).items()))
